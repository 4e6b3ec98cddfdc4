"""Every text is translated into every language, and the compiled files say what the sources say."""

import gettext
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.utils import translation

from chat import queue_events
from chat.models import Conversation
from testing.parts import missing
from testing.services import ROOT

LANGUAGES = [code for code, _ in settings.LANGUAGES if code != "en"]
SOURCES = sorted(
    path
    for folder in ("chat", "notifications", "holodrive")
    for path in (ROOT / folder).rglob("locale/*/LC_MESSAGES/*.po")
)
TEXT = re.compile(r'^(?:msgctxt|msgid|msgid_plural) ".*"$', re.MULTILINE)


@pytest.fixture
def tools() -> None:
    if shutil.which("msgfmt") is None or shutil.which("xgettext") is None:
        missing("The translations", "gettext (Debian: gettext)")


def run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def compiled(file: Path) -> dict[object, str]:
    with file.open("rb") as content:
        catalog: dict[object, str] = vars(gettext.GNUTranslations(content))["_catalog"]
    return catalog


def test_there_are_translations_into_each_language():
    assert {path.parts[-3] for path in SOURCES} == set(LANGUAGES) == {"ru", "uz"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_text_is_translated_and_compiled(tools, source, tmp_path):
    """If it fails: `make messages`, translate what is empty, `make messages` once more."""
    text = source.read_text()
    assert "#, fuzzy" not in text
    assert 'msgstr ""\n\n' not in f"{text}\n\n"
    assert not re.search(r'^msgstr\[\d\] ""$', text, re.MULTILINE)
    run("msgfmt", "--check-format", "-o", str(tmp_path / "fresh.mo"), str(source), cwd=ROOT)
    assert compiled(source.with_suffix(".mo")) == compiled(tmp_path / "fresh.mo")


def test_no_text_in_templates_and_scripts_is_unknown(tools, tmp_path):
    copy = tmp_path / "copy"
    unwanted = shutil.ignore_patterns(".*", "node_modules", "site", "staticfiles", "*.sqlite3*")
    shutil.copytree(ROOT, copy, ignore=unwanted)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    run("make", "-o", ".venv/development", "messages", cwd=copy)
    for source in SOURCES:
        again = copy / source.relative_to(ROOT)
        assert TEXT.findall(again.read_text()) == TEXT.findall(source.read_text())
    known = {path.relative_to(ROOT) for path in SOURCES}
    assert {path.relative_to(copy) for path in copy.rglob("locale/*/LC_MESSAGES/*.po")} == known


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.django_db
def test_the_admin_speaks_the_browsers_language(admin_client, language):
    page = admin_client.get("/admin/", headers={"accept-language": language}).content.decode()
    with translation.override(language):
        words = translation.gettext("Mark all as read")
    assert words != "Mark all as read"
    assert words in page
    assert f'<html lang="{language}"' in page
    address = f"/api/notifications/texts.js?language={language}"
    assert address in page
    script = admin_client.get(address, headers={"accept-language": language}).content.decode()
    assert "just now" in script


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_choice_has_a_label_in_each_language(language):
    """What the lists and forms of the admin show of our models."""
    fields = [
        (model, field)
        for app in ("chat", "notifications")
        for model in apps.get_app_config(app).get_models()
        for field in model._meta.concrete_fields
        if field.choices
    ]
    assert len(fields) >= 6
    for model, field in fields:
        with translation.override("en"):
            known = [str(label) for _, label in field.flatchoices]
        with translation.override(language):
            labels = [str(label) for _, label in field.flatchoices]
        same = set(known) & set(labels)
        assert not same, f"{model.__name__}.{field.name}: {same} in {language}"


@pytest.mark.django_db
def test_the_wire_speaks_no_language():
    row = Conversation(kind="support", priority=Conversation.Priority.URGENT, status="open")
    with translation.override("ru"):
        shown = queue_events.queued(row, ())
    assert (shown.priority, shown.status) == ("urgent", "open")
