"""The extras are extras: everything runs without them, and says which one is wanted."""

import os
import subprocess
import sys

from testing.patience import START
from testing.services import ROOT

_WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(["pywebpush", "py_vapid", "http_ece", "firebase_admin"]))
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "check"])
"""


def check(**settings):
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "holodrive.settings"} | settings
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=START,
    )


def test_without_the_extras_everything_imports():
    run = check()
    assert run.returncode == 0, run.stderr


def test_a_channel_whose_extra_is_missing_is_refused_at_the_start():
    run = check(PUSH_VAPID_PRIVATE_KEY="x")
    assert run.returncode == 1
    assert "push.E001" in run.stderr
    assert "requirements-push.txt" in run.stderr
