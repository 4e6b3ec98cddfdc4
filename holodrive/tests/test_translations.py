"""Every text is translated into every language, and the compiled files say what the sources say."""

import gettext
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.utils import translation

from chat import queue_events
from chat.models import CannedReply, Conversation
from holodrive.realtime.searchable import FoldedField
from push.models import QuietHours
from testing.parts import missing
from testing.patience import patience
from testing.services import ROOT

LANGUAGES = [code for code, _ in settings.LANGUAGES if code != "en"]
SOURCES = sorted(
    path
    for folder in ("chat", "notifications", "push", "holodrive")
    for path in (ROOT / folder).rglob("locale/*/LC_MESSAGES/*.po")
)
TEXT = re.compile(r'^(?:msgctxt|msgid|msgid_plural) ".*"$', re.MULTILINE)


@pytest.fixture
def tools() -> None:
    if shutil.which("msgfmt") is None or shutil.which("xgettext") is None:
        missing("The translations", "gettext (Debian: gettext)")


def run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=patience(120))
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
        for app in ("accounts", "chat", "notifications")
        for model in apps.get_app_config(app).get_models()
        for field in model._meta.concrete_fields
        if field.choices and model in admin.site._registry
    ]
    assert len(fields) >= 6
    for model, field in fields:
        with translation.override("en"):
            known = [str(label) for _, label in field.flatchoices]
        with translation.override(language):
            labels = [str(label) for _, label in field.flatchoices]
        same = set(known) & set(labels)
        assert not same, f"{model.__name__}.{field.name}: {same} in {language}"


OURS = ("accounts", "chat", "notifications", "push")


def shown_in_the_admin() -> dict[str, Any]:
    """What its pages say of our models, by what it is of."""
    shown: dict[str, Any] = {}
    for app in OURS:
        shown[app] = apps.get_app_config(app).verbose_name
    for model, page in admin.site._registry.items():
        if model._meta.app_label not in OURS:
            continue
        name = model._meta.label
        # Django's own texts are Django's to translate.
        theirs = AbstractUser._meta.get_fields() if issubclass(model, AbstractUser) else ()
        if not theirs:
            shown[name] = model._meta.verbose_name
            shown[f"{name}, many"] = model._meta.verbose_name_plural
        if page.search_help_text:
            shown[f"{name}, search"] = page.search_help_text
        for field in model._meta.concrete_fields:
            if isinstance(field, FoldedField):  # no page has it
                continue
            if not field.auto_created and field.name not in {one.name for one in theirs}:
                shown[f"{name}.{field.name}"] = field.verbose_name
                if field.help_text:
                    shown[f"{name}.{field.name}, help"] = field.help_text
    return shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_name_in_the_admin_is_translated(language):
    shown = shown_in_the_admin()
    for some in ("chat", "chat.Message.text, help", "push.QuietHours", "accounts.User.role"):
        assert some in shown
    with translation.override("en"):
        english = {what: str(text) for what, text in shown.items()}
    with translation.override(language):
        same = [what for what, text in shown.items() if str(text) == english[what]]
    assert not same, f"not in {language}: {same}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_form_refuses_is_said_in_each_language(language):
    wrong = [
        Conversation(status="snoozed"),
        CannedReply(code="x", text="{nobody_name}"),
        QuietHours(start="22:00", end="07:00", time_zone="Tashkent"),
    ]

    def refusals() -> list[str]:
        said = []
        for row in wrong:
            with pytest.raises(ValidationError) as refusal:
                row.full_clean(exclude=["user"], validate_unique=False)
            said += refusal.value.messages
        return said

    with translation.override("en"):
        english = refusals()
    assert len(english) == len(wrong)
    with translation.override(language):
        assert not set(refusals()) & set(english)


@pytest.mark.django_db
def test_the_wire_speaks_no_language():
    row = Conversation(kind="support", priority=Conversation.Priority.URGENT, status="open")
    with translation.override("ru"):
        shown = queue_events.queued(row, ())
    assert (shown.priority, shown.status) == ("urgent", "open")
