"""README.md and docs/ say what the code does: settings, codes, frames, links."""

import ast
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import get_commands

from holodrive.asyncapi.sockets import SOCKETS
from holodrive.realtime import wire
from testing.patience import START

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
REFERENCE = ROOT / "docs" / "reference"
PROTOCOL = (REFERENCE / "protocol.md").read_text()
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

SETTINGS = ast.parse((ROOT / "holodrive" / "settings.py").read_text())

DOCUMENTED_PATHS = [
    "/ws/notifications/",
    "/ws/notifications/?token=",
    "/ws/notifications/YOUR_JWT_TOKEN",
    "/ws/notifications/token=YOUR_JWT_TOKEN",
    "/ws/notifications/{user_id}/YOUR_TOKEN",
    "/ws/chat/{conversation_id}/",
    "/ws/chat/{conversation_id}/?token=",
    "/ws/chat/{conversation_id}/YOUR_JWT_TOKEN",
]


def reads() -> Iterator[tuple[str, ast.expr | None]]:
    """Each place where settings.py reads a variable, with the default as written there."""
    for call in ast.walk(SETTINGS):
        match call:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="env")),
                args=[ast.Constant(value=str(name)), *defaults],
                keywords=keywords,
            ):
                named = [word.value for word in keywords if word.arg == "default"]
                yield name, next(iter([*defaults, *named]), None)
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name, None


def read_variables() -> dict[str, ast.expr | None]:
    return dict(reads())


def configuration_table() -> dict[str, str]:
    """The rows of README's configuration table: variable and default."""
    section = README.split("\n## Configuration\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE)
    names = [name for name, _ in rows]
    assert len(names) == len(set(names)), "a variable stands there twice"
    return dict(rows)


def test_every_variable_that_the_settings_read_is_in_the_configuration_table() -> None:
    assert "REALTIME_RESUME_LIMIT" in read_variables()  # or the parse finds nothing
    assert read_variables().keys() - configuration_table().keys() == set()


def test_the_configuration_table_names_no_variable_that_is_not_read() -> None:
    assert configuration_table().keys() - read_variables().keys() == set()


def test_settings_read_the_environment_in_no_way_that_these_tests_do_not_see() -> None:
    nodes = list(ast.walk(SETTINGS))
    used = [node for node in nodes if isinstance(node, ast.Name) and node.id == "env"]
    environ = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr == "environ"]
    # Those that read nothing: the assignment of env, env.refuse(), env.notices().
    assert len(used) - 3 + len(environ) == len(list(reads()))


def test_a_default_that_is_a_plain_value_is_the_one_in_the_table() -> None:
    table = configuration_table()
    compared = 0
    for name, default in read_variables().items():
        if isinstance(default, ast.Constant) and default.value != "":
            value = default.value
            written = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
            assert table[name] == f"`{written}`", name
            compared += 1
    assert compared > 5


def test_every_variable_of_the_example_file_is_in_the_configuration_table() -> None:
    example = (ROOT / ".env.example").read_text()
    names = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert names
    assert names - configuration_table().keys() == set()


# README's chapter Production

PRODUCTION = README.split("\n## Production\n")[1].split("\n## ")[0]
UNITS = ROOT / "deploy" / "systemd"


def environment_file() -> str:
    """What the chapter writes to /etc/holodrive.env."""
    shown = re.search(r"<<END\n(.*?)^END$", PRODUCTION, re.MULTILINE | re.DOTALL)
    assert shown
    known = {"$DOMAIN": "rides.example.com", "$PASSWORD": "secret"}
    known["$(openssl rand -hex 50)"] = secrets.token_hex(50)
    text = shown[1]
    for name, value in known.items():
        text = text.replace(name, value)
    assert "$" not in text
    return text


def test_production_sets_only_variables_that_are_read() -> None:
    names = {line.split("=")[0] for line in environment_file().splitlines()}
    assert "SECRET_KEY" in names
    assert names - read_variables().keys() == set()


def test_production_names_only_files_units_and_commands_that_exist() -> None:
    commands = "".join(re.findall(r"```console\n(.*?)```", PRODUCTION, re.DOTALL))
    files = set(re.findall(r"(?:deploy/|requirements)[\w./*-]+", commands))
    assert len(files) == 3
    assert {name for name in files if not [*ROOT.glob(name)]} == set()
    units = {re.sub(r"@\d", "@", name) for name in re.findall(r"holodrive[\w@-]*\.\w+", commands)}
    units -= {"holodrive.env", "holodrive.conf"}
    assert "holodrive@.service" in units
    assert units - {path.name for path in UNITS.iterdir()} == set()
    named = set(re.findall(r"manage\.py (\w+)", commands))
    assert {"migrate", "loadtest"} <= named <= get_commands().keys()


def test_what_production_sets_up_is_what_the_units_and_nginx_look_for() -> None:
    service = (UNITS / "holodrive@.service").read_text()
    for line in (
        "User=holodrive",
        "WorkingDirectory=/srv/holodrive",
        "EnvironmentFile=/etc/holodrive.env",
    ):
        assert line in service
        assert line.split("=")[1] in PRODUCTION
    for name in ("fullchain.pem", "privkey.pem"):
        assert f"/etc/ssl/holodrive/{name}" in PRODUCTION
        assert f" /etc/ssl/holodrive/{name};" in (ROOT / "deploy/nginx/holodrive.conf").read_text()
    bind = "127.0.0.1:9000"
    assert f"\nREALTIME_BIND={bind}\n" in environment_file()
    assert f"ListenStream={bind}" in (UNITS / "holodrive.socket").read_text()


def test_the_deploy_check_is_content_with_exactly_what_production_sets(tmp_path: Path) -> None:
    file = tmp_path / "holodrive.env"
    file.write_text(environment_file())
    run = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENV_FILE": str(file)},
        capture_output=True,
        text=True,
        timeout=START,
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("code", list(wire.CloseCode))
def test_every_close_code_is_in_the_protocol(code: wire.CloseCode) -> None:
    section = PROTOCOL.split("\n## Close codes\n")[1]
    assert re.search(rf"^\| {int(code)} \|", section, re.MULTILINE)


@pytest.mark.parametrize("code", list(wire.ErrorCode))
def test_every_error_code_is_in_the_protocol(code: wire.ErrorCode) -> None:
    section = PROTOCOL.split("\n## Errors\n")[1].split("\n## ")[0]
    assert re.search(rf"^\| `{code}` \|", section, re.MULTILINE)


def frames() -> dict[str, list[type[msgspec.Struct]]]:
    """Every frame and command on the wire, by its type; some have more than one shape."""
    found: dict[str, list[type[msgspec.Struct]]] = {}
    for module in (wire, *(socket.module for socket in SOCKETS)):
        for name, shape in vars(module).items():
            if not isinstance(shape, type) or shape.__module__ != module.__name__:
                continue
            if issubclass(shape, wire.Frame | wire.Command):
                tag = str(shape.__struct_config__.tag)
                if tag != name:  # else it is a base, with msgspec's own tag
                    found.setdefault(tag, []).append(shape)
    return found


@pytest.mark.parametrize("kind", [*frames(), *(str(int(code)) for code in wire.CloseCode)])
def test_the_protocol_in_one_table_has_every_frame_and_close(kind: str) -> None:
    section = (ROOT / "README.md").read_text().split("## The protocol in one table")[1]
    rows = [row for row in section.split("\n## ")[0].splitlines() if row.startswith("|")]
    assert any(re.search(rf"\b{kind}\b", row) for row in rows)


def examples(text: str) -> Iterator[Any]:
    for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield json.loads(block)


def fits(example: dict[str, Any], shape: type[msgspec.Struct]) -> bool:
    """Whether the example has the shape's fields: of a frame all, of a command those required."""
    fields = msgspec.structs.fields(shape)
    keys = example.keys() - {"type"}
    required = {
        field.encode_name
        for field in fields
        if (
            field.required
            if issubclass(shape, wire.Command)
            else field.default is not msgspec.UNSET
        )
    }
    return required <= keys <= {field.encode_name for field in fields}


def test_every_example_of_the_protocol_has_the_fields_of_a_frame() -> None:
    shapes = frames()
    for example in examples(PROTOCOL):
        assert any(fits(example, shape) for shape in shapes[example["type"]]), example


@pytest.mark.parametrize("kind", sorted(frames()))
def test_every_shape_of_every_frame_has_an_example(kind: str) -> None:
    known = [example for example in examples(PROTOCOL) if example["type"] == kind]
    for shape in frames()[kind]:
        assert any(fits(example, shape) for example in known), shape


def test_the_readme_leads_to_every_page() -> None:
    pages = [str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")]
    assert "docs/explanation/decisions.md" in pages
    assert [page for page in pages if f"({page})" not in README] == []


def test_the_layout_names_every_app() -> None:
    layout = README.split("\n## Layout\n")[1].split("\n## ")[0]
    apps = [file.parent.name for file in ROOT.glob("*/apps.py")]
    assert {"chat", "push"} <= set(apps)
    assert [app for app in apps if f"\n{app}/" not in layout] == []


def test_who_adds_our_apps_is_told_of_each_of_their_commands() -> None:
    guide = (ROOT / "docs" / "how-to" / "add-it-to-your-project.md").read_text()
    files = [
        file
        for app in ("holodrive/realtime", "notifications", "chat", "push")
        for file in (ROOT / app / "management" / "commands").glob("[!_]*.py")
    ]
    assert files
    assert [file.stem for file in files if f"`{file.stem}`" not in guide] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_in_json_can_be_parsed(page: Path) -> None:
    list(examples(page.read_text()))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.is_file(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(found.read_text()), f"{target} has no such heading"


BESIDE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A copy of what `make docs` reads."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "testing").mkdir()
    for name in (*BESIDE, "mkdocs.yml", "testing/site.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def built(documents: Path) -> tuple[int, str]:
    """How `make docs` ends, and what it says."""
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=documents,
        capture_output=True,
        text=True,
        timeout=START,
    )
    return run.returncode, run.stderr


def test_the_site_has_every_page_and_loads_nothing_from_other_hosts(documents: Path) -> None:
    code, said = built(documents)
    assert code == 0, said
    pages = [page.read_text() for page in (documents / "site").rglob("*.html")]
    assert len(pages) >= len(PAGES)
    for page in pages:
        loads = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"([^\"]+)", page)
        assert loads
        assert [url for url in loads if re.match(r"(?:\w+:)?//", url)] == []
    home = (documents / "site" / "index.html").read_text()
    for link in ("how-to/run-it.html", "license.txt", "changelog.html"):
        assert f'href="{link}"' in home
    run_it = (documents / "site" / "how-to" / "run-it.html").read_text()
    assert 'href="../index.html#configuration"' in run_it


@pytest.mark.parametrize(
    ("page", "text", "said"),
    [
        ("docs/how-to/run-it.md", "[gone](gone.md)", "gone.md"),
        ("docs/how-to/run-it.md", "[gone](../../README.md#gone)", "#gone"),
        ("docs/how-to/run-it.md", "[gone](../../gone.md)", "gone.md"),
        ("README.md", "[gone](docs/how-to/run-it.md#gone)", "#gone"),
        ("README.md", "[gone](docs/gone.md)", "gone.md"),
        ("docs/how-to/unlisted.md", "# A page that no list names", "unlisted.md"),
    ],
)
def test_a_link_or_a_page_that_leads_nowhere_fails_the_site(
    documents: Path, page: str, text: str, said: str
) -> None:
    with (documents / page).open("a") as file:
        file.write(f"\n{text}\n")
    code, warning = built(documents)
    assert code != 0
    assert said in warning


@pytest.mark.parametrize("path", DOCUMENTED_PATHS)
def test_the_contract_names_every_documented_path(path: str) -> None:
    assert path in (REFERENCE / "websocket-paths.md").read_text()
