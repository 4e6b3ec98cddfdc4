"""What is installed is named to the byte: every version with its hashes, what it stands on too."""

import re
from importlib.metadata import PackageNotFoundError, requires
from itertools import combinations
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from testing.services import ROOT

LOCKS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
WAYS = ("Makefile", "README.md", "deploy/Dockerfile", *sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")
))  # fmt: skip


class Pin(NamedTuple):
    requirement: Requirement
    hashes: list[str]


def asked(name: str) -> list[Requirement]:
    """What a requirements*.in asks for, and those that it includes."""
    found = []
    for line in (ROOT / name).read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            found += asked(line.removeprefix("-r "))
        elif line:
            found.append(Requirement(line))
    return found


def locked(name: str) -> list[Pin]:
    text = re.sub(r"^ *#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    pins = []
    for line in text.replace("\\\n", "").splitlines():
        requirement, *hashes = line.split("--hash=")
        pins.append(Pin(Requirement(requirement), [each.strip() for each in hashes]))
    return pins


def names(name: str) -> set[str]:
    return {canonicalize_name(pin.requirement.name) for pin in locked(name)}


def test_each_list_of_what_is_asked_for_has_its_lock() -> None:
    lists = sorted(path.name for path in ROOT.glob("requirements*.in"))
    assert [name.replace(".in", ".txt") for name in lists] == LOCKS
    assert "requirements.txt" in LOCKS


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_version_is_exact_and_has_its_hashes(lock: str) -> None:
    pins = locked(lock)
    assert len(pins) > len(asked(lock.replace(".txt", ".in")))  # what those stand on as well
    for pin in pins:
        assert re.fullmatch(r"==[\w.]+", str(pin.requirement.specifier)), pin
        assert pin.hashes, pin
        assert [h for h in pin.hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", h)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_has_what_is_asked_for(lock: str) -> None:
    pins = {canonicalize_name(pin.requirement.name): pin.requirement for pin in locked(lock)}
    for requirement in asked(lock.replace(".txt", ".in")):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement}: make lock"
        (version,) = pin.specifier
        assert requirement.specifier.contains(version.version), f"{requirement}: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_has_nothing_that_no_one_asks_for_any_more(lock: str) -> None:
    """uv notes at each pin what wants it; what is asked for itself is wanted by the list."""
    text = (ROOT / lock).read_text()
    blocks = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]
    wanted = {block.split("==")[0] for block in blocks if re.search(r"-r requirements", block)}
    assert wanted == {canonicalize_name(r.name) for r in asked(lock.replace(".txt", ".in"))}


@pytest.mark.parametrize("lock", LOCKS)
def test_what_a_locked_version_stands_on_is_locked_too(lock: str) -> None:
    """As far as it is installed here: its own metadata says what it needs."""
    known, looked_at = names(lock), 0
    for pin in locked(lock):
        try:
            needs = requires(pin.requirement.name) or []
        except PackageNotFoundError:  # an optional one, or of another platform
            continue
        looked_at += 1
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in known, f"{pin.requirement}: {need}"
    assert looked_at > 5


def test_two_locks_never_name_two_versions() -> None:
    def versions(lock: str) -> dict[str, dict[str, list[str]]]:
        found: dict[str, dict[str, list[str]]] = {}
        for pin in locked(lock):
            name = canonicalize_name(pin.requirement.name)
            found.setdefault(name, {})[str(pin.requirement.specifier)] = pin.hashes
        return found

    for one, other in combinations(map(versions, LOCKS), 2):
        shared = one.keys() & other.keys()
        assert {name: one[name] for name in shared} == {name: other[name] for name in shared}


@pytest.mark.parametrize("file", [*LOCKS, *(name.replace(".txt", ".in") for name in LOCKS)])
def test_no_list_names_a_place_that_packages_come_from(file: str) -> None:
    text = (ROOT / file).read_text()
    assert re.findall(r"://|--index|--find-links|--trusted| @ |(?<!\w)/\w+", text) == []


@pytest.mark.parametrize("file", WAYS)
def test_every_way_to_install_a_lock_wants_the_hashes(file: str) -> None:
    commands = (ROOT / file).read_text().replace("\\\n", " ").splitlines()
    lines = [
        line for line in commands if re.search(r"pip install .*requirements[\w$-]*\.txt", line)
    ]
    assert [line for line in lines if "--require-hashes" not in line] == []
    assert lines or not {"Makefile", "README.md", "deploy/Dockerfile"} & {file}


@pytest.mark.parametrize("list_name", ["requirements.in", "requirements-push.in"])
def test_every_version_that_is_asked_for_has_its_reason(list_name: str) -> None:
    page = (ROOT / "docs/explanation/decisions.md").read_text()
    rows = page.split("\n## Libraries\n")[1].split("\n## ")[0]
    for line in (ROOT / list_name).read_text().splitlines():
        pin = line.partition("#")[0].partition(";")[0].strip()
        if pin:
            assert f"`{pin}`" in rows or f"`{pin.split('==')[0]}`" in rows, pin
