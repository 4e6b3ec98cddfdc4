"""Kinds of settings that are keys, or say where one is. No message repeats a key."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jwt import InvalidKeyError
from jwt.algorithms import HMACAlgorithm

from holodrive.environment.kinds import Kind, Listed, WrongValueError

# As a file of a secret ends, and so a variable that is read from one. It has always been a part of
# the key: without it nothing would verify what is signed already.
_ENDING = re.compile(r"\r?\n\Z")
_OF_AN_ACCOUNT = ("project_id", "client_email", "private_key", "token_uri")


@dataclass(frozen=True)
class Key(Kind):
    """A secret that signs. It is taken as it is: nothing around it is cut off."""

    wanted = "a secret in one line, without white space around it,"
    example = "what `openssl rand -hex 50` prints"
    is_secret = True
    is_whole = True

    def read(self, text: str) -> str:
        if why := next(_faults(text), None):
            raise WrongValueError(why=why)
        return text


@dataclass(frozen=True)
class FormerKeys(Listed):
    """Keys of before. Whether a line break was a part of one is not seen here: if there is one,
    both verify.
    """

    item: Kind = Key()
    is_whole = True

    def read(self, text: str) -> list[str]:
        return [self.item.read(key) for part in text.split(",") for key in _spellings(part)]


@dataclass(frozen=True)
class VerifyingKey(Key):
    """A key that is given to a Django setting: of a pair of keys, PEM."""

    wanted = "a secret, or of a pair of keys the public one in PEM,"

    def check(self, value: Any) -> None:
        if not isinstance(value, str | bytes):  # what it verifies, the key ring tries
            raise WrongValueError(why="a key is not a string")


@dataclass(frozen=True)
class VapidKey(Kind):
    wanted = "a key of Web Push"
    example = "what `manage.py vapid_keys` prints"
    is_secret = True

    def read(self, text: str) -> str:
        try:
            from py_vapid import Vapid02, VapidException
        except ImportError:
            return text  # `check` names the requirements that are missing
        if not re.fullmatch(r"[A-Za-z0-9_=+/-]+", text):
            raise WrongValueError(why="it is not in base64url")
        try:
            curve = getattr(Vapid02.from_string(text).private_key, "curve", None)
        except (ValueError, TypeError, VapidException):
            raise WrongValueError(why="it cannot be read") from None
        if getattr(curve, "name", "") != "secp256r1":
            raise WrongValueError(why="it is not on the curve P-256")
        return text


@dataclass(frozen=True)
class ServiceAccount(Kind):
    wanted = "the file of a service account's key, in JSON,"
    example = "/etc/holodrive/firebase.json"

    def read(self, text: str) -> str:
        if text.startswith("{"):
            raise WrongValueError("{...}", "its content stands there in place of its name")
        try:
            found = json.loads(Path(text).read_bytes())
        except OSError as problem:
            raise WrongValueError(text, str(problem.strerror)) from None
        except (ValueError, RecursionError):
            raise WrongValueError(text, "it is not JSON") from None
        if why := _why_no_account(found):
            raise WrongValueError(text, why)
        return text


@dataclass(frozen=True)
class Contact(Kind):
    wanted = "a mailto: or https: address"
    example = "mailto:ops@example.com"

    def read(self, text: str) -> str:
        # RFC 8292, 2.1. Apple's service refuses anything else with 403.
        if not re.fullmatch(r"mailto:[^\s<>@]+@[^\s<>@]+|https://[^\s<>/][^\s<>]*", text):
            raise WrongValueError(text)
        return text


def _spellings(part: str) -> list[str]:
    key, ending = part.strip(), _ENDING.search(part)
    if not key:
        return []
    return [key, key + ending[0]] if ending else [key]


def _faults(text: str) -> Iterator[str]:
    text = _ENDING.sub("", text)
    if "-----BEGIN" in text:
        yield "a key in PEM signs nothing by HS256"
    if text != text.strip():
        yield "there is white space around it"
    if not text.isprintable():
        yield "a character of it cannot be printed"
    else:
        try:
            HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(text)
        except InvalidKeyError:
            yield "a public key signs nothing by HS256"


def _why_no_account(found: Any) -> str:
    if not isinstance(found, dict) or found.get("type") != "service_account":
        return 'it has no "type": "service_account"'
    missing = [name for name in _OF_AN_ACCOUNT if not isinstance(found.get(name), str)]
    return f"it has no {missing[0]}" if missing else ""
