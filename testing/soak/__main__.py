"""`make soak`: every proof at full scale, one line each; fails when one does not hold.

On PostgreSQL where its programs are, else on SQLite (TEST_DATABASE chooses).
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from testing import services
from testing.soak import NO_LIMITS, Verdict

PROOFS = (
    "delivery",
    "frames",
    "doors",
    "canary",
    "slow_reader",
    "histories",
    "idle",
    "rolling",
    "budgets",
    "http_budgets",
)
_MOST_DETAILS = 60  # every kind of attack of one proof


def main() -> int:
    options = _options()
    _open_database()
    failed = []
    for name in options.names or PROOFS:
        began = time.monotonic()
        verdict = _prove(name, options)
        _report(name, verdict, time.monotonic() - began)
        if not verdict.holds:
            failed.append(name)
    if failed:
        print(f"does not hold: {', '.join(failed)}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m testing.soak", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(PROOFS))
    parser.add_argument("--short", action="store_true", help="as in make test")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a part of the scale"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    unknown = set(options.names) - set(PROOFS)
    if unknown:
        parser.error(f"no proof is called {', '.join(sorted(unknown))}")
    return options


def _open_database() -> None:
    if "TEST_DATABASE" not in os.environ:
        try:
            services.program("initdb")
            os.environ["TEST_DATABASE"] = "postgresql"
        except FileNotFoundError:
            os.environ["TEST_DATABASE"] = "sqlite"
    services.prepare()
    os.environ |= {"DJANGO_SETTINGS_MODULE": "holodrive.settings", "LOG_LEVEL": "ERROR"}
    os.environ |= NO_LIMITS
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _prove(name: str, options: argparse.Namespace) -> Verdict:
    from django.core.management import call_command

    call_command("flush", verbosity=0, interactive=False)
    proof = importlib.import_module(f"testing.soak.{name}")
    scale = _changed(proof.SHORT if options.short else proof.FULL, options.set)
    print(f"{name}: seed {options.seed}", file=sys.stderr)
    verdict: Verdict = proof.prove(scale, options.seed, _progress)
    return verdict


def _changed(scale: Any, changes: Sequence[str]) -> Any:
    parts = dict(change.split("=", 1) for change in changes)
    return scale._replace(**{name: type(getattr(scale, name))(parts[name]) for name in parts})


def _progress(text: str) -> None:
    """One line, rewritten, for whoever looks on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _report(name: str, verdict: Verdict, seconds: float) -> None:
    _progress("")
    print(f"{name} ({verdict.where}; {seconds:.0f} s): {verdict}", flush=True)
    for detail in verdict.details[:_MOST_DETAILS]:
        print(f"  {detail}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
