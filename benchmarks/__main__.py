"""Measures our servers beside their peers; `make bench` runs all scenarios.

  python -m benchmarks                                          everything, some 45 minutes
  python -m benchmarks --quick                                  everything, once and briefly
  python -m benchmarks persisted --only ours-serve-sqlite --seconds 10

A server is left out, and named, where a program that it needs is not there: Node and npm for
Socket.IO and ws (Debian: nodejs npm), nginx with its nchan module (Debian: nginx
libnginx-mod-nchan), PostgreSQL (Debian: postgresql).

Medians of all runs are shown beside the goals; every run is kept in benchmarks/results/latest.json,
where rows measured anew replace the old ones.

Exit code 0 if everything was delivered once and in order, else 1.
"""

import argparse
import signal
import sys

from benchmarks import bell, fanout, idle, persisted, report, results, storm, two
from benchmarks.bench import Bench
from benchmarks.frames import LoadError
from benchmarks.processes import STOPS, ServerError
from benchmarks.workers import raise_file_limit

_SCENARIOS = {
    "fanout": fanout.measure,
    "persisted": persisted.measure,
    "bell": bell.measure,
    "idle": idle.measure,
    "storm": storm.measure,
    "processes": two.measure,
}


def main() -> int:
    options = _options()
    for number in STOPS:
        signal.signal(number, _stop)
    raise_file_limit()
    bench = Bench(options.rounds, options.seconds, options.only, options.quick)
    scenarios = options.scenarios or list(_SCENARIOS)
    bench.rows, bench.adds = results.load(), options.add
    if options.docs:
        scenarios = options.scenarios
    try:
        for scenario in scenarios:
            bench.say(scenario, keep=True)
            _SCENARIOS[scenario](bench)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (LoadError, ServerError) as problem:
        print(f"\nerror: {problem}", file=sys.stderr)
        return 1
    finally:
        results.save(bench.rows)  # what is there is there
    report.print_report(bench.rows)
    for sentence in bench.missing:
        print(sentence)
    if options.docs:
        results.write_documents(bench.rows)
    return 0 if report.is_correct(bench.rows) else 1


def _stop(number: int, frame: object) -> None:
    """However it is stopped, and how often: it ends as by Ctrl-C and leaves no process behind."""
    for one in STOPS:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", help=", ".join(_SCENARIOS))
    parser.add_argument("--only", action="append", default=[], help="a server's name; repeat it")
    parser.add_argument("--rounds", type=int, help="runs of each (3)")
    parser.add_argument("--seconds", type=float, help="of each run (5)")
    parser.add_argument("--quick", action="store_true", help="one short run of each")
    parser.add_argument("--add", action="store_true", help="add runs to those of latest.json")
    parser.add_argument("--docs", action="store_true", help="only bring latest.json into docs/")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (2.0 if options.quick else 5.0)
    if unknown := set(options.scenarios) - set(_SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
