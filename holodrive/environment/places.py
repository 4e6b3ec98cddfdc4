"""Kinds of settings that say where something is: hosts, origins, networks, headers, files."""

import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path

from holodrive.environment.kinds import COMMAS, Kind, WrongValueError

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PLACE = r"(?P<host>\[[^\[\]]*\]|[^\s:/?#@\[\]\\]+)(?::(?P<port>[0-9]+))?"
_DIALLED = re.compile(rf"{_PLACE}(?:/[A-Za-z0-9._~%/-]*)?")
_ORIGIN = re.compile(rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://{_PLACE}")
_WITHOUT_HOST = ("null", "file://")  # of sandboxed pages, and of apps made of files
_OF_THE_WEB = ("http", "https", "ws", "wss")
_OWN_HOST = re.compile("[A-Za-z0-9._~-]+")  # of a scheme of its own: Electron's app://- and app://.
_PUSH_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PUSH_NAME = rf"{_PUSH_LABEL}(?:\.{_PUSH_LABEL})*"
_PUSH_HOST = re.compile(
    rf"(?P<host>\.{_PUSH_LABEL}\.{_PUSH_NAME}|{_PUSH_NAME})(?::(?P<port>[0-9]{{1,5}}))?"
)
_TLS_PORT = 443
_OFF = ("off", "no", "false", "none")
_NO_HEADERS = (*_OFF, "on", "yes", "true", "http", "https")  # what a flag or a scheme would say
_NETWORKS = (IPv4Address, IPv4Network, IPv6Address, IPv6Network)


def is_host(text: str) -> bool:
    """Whether it is a host as URLs have it: a name, an IPv4 address, or an IPv6 one in brackets."""
    if text.startswith("[") and text.endswith("]"):
        return "%" not in text and _parses(IPv6Address, text[1:-1])
    if not _NAME.fullmatch(text) or len(text) > 253:
        return False
    # Browsers take every host whose last label is a number for an address (WHATWG URL, 3.5).
    is_number = text.rpartition(".")[2].isdigit()
    return not is_number or _parses(IPv4Address, text)


def is_port(text: str | None) -> bool:
    """Whether a URL may have it; None: it has none."""
    return text is None or (len(text) <= 5 and 0 < int(text) < 65_536)


def host_and_port(text: str) -> tuple[str, int]:
    """Read where to listen: HOST:PORT, an IPv6 address in brackets, port 0 for any. Raises
    ValueError.
    """
    found = re.fullmatch(_PLACE, text)
    if found is None or found["port"] is None:
        raise WrongValueError(text, _why_no_place(text))
    zoneless = re.sub(r"%[^\]]+", "", found["host"])  # [fe80::1%eth0]
    if not is_host(zoneless) or not (is_port(found["port"]) or found["port"] == "0"):
        raise WrongValueError(text)
    return found["host"].strip("[]"), int(found["port"])


def push_host(text: str) -> tuple[str, int]:
    """Read an entry of PUSH_WEB_HOSTS: a host, or with a dot ahead those below, and their port.
    Raises ValueError.
    """
    found = _PUSH_HOST.fullmatch(text.lower())
    port = int(found["port"] or _TLS_PORT) if found else 0
    if found is None or not is_host(found["host"].removeprefix(".")) or not 0 < port < 65_536:
        raise WrongValueError(text, _why_no_place(text))
    return found["host"], port


@dataclass(frozen=True)
class Host(Kind):
    wanted = "a host name or an address, without a scheme or a port,"
    example = "rides.example.com"

    def read(self, text: str) -> str:
        if _parses(IPv6Address, text):
            text = f"[{text}]"
        if not is_host(text):
            raise WrongValueError(text, _why_no_place(text))
        return text

    def check(self, value: object) -> None:
        super().check(f"[{value}]" if _parses(IPv6Address, value) else value)


@dataclass(frozen=True)
class Dialled(Kind):
    """What clients dial: it follows `ws://` and `wss://`, and paths follow it. Empty: the host of
    each page.
    """

    wanted = "HOST or HOST:PORT, without a scheme,"
    example = "rides.example.com or 127.0.0.1:9000"

    def empty(self, default: object) -> str:
        return ""

    def read(self, text: str) -> str:
        found = _DIALLED.fullmatch(text)
        if found is None or not is_host(found["host"]) or not is_port(found["port"]):
            raise WrongValueError(text, _why_no_place(text))
        return text.rstrip("/")


@dataclass(frozen=True)
class Bind(Kind):
    wanted = "HOST:PORT"
    example = "127.0.0.1:9000 or [::1]:9000"

    def read(self, text: str) -> str:
        host_and_port(text)
        return text


@dataclass(frozen=True)
class AllowedHost(Kind):
    """As Django compares it with a request's Host header, less its port."""

    wanted = "a host name without scheme, port and path"
    example = "rides.example.com, .example.com (with all below it) or [::1]"

    def read(self, text: str) -> str:
        name = text.removeprefix(".")
        if text != "*" and ("_" in text or not is_host(name) or text.startswith(".[")):
            raise WrongValueError(text, _why_no_allowed_host(text))
        return text


@dataclass(frozen=True)
class Origin(Kind):
    """As browsers send it (RFC 6454, 6.2)."""

    wanted = "an origin with its scheme, and without a path,"
    example = "https://app.example.com, capacitor://localhost or null"
    schemes: tuple[str, ...] = ()  # none: any

    def read(self, text: str) -> str:
        if text in _WITHOUT_HOST and not self.schemes:
            return text
        found = _ORIGIN.fullmatch(text)
        if found is None or not self._has(found["scheme"], found["host"], found["port"]):
            raise WrongValueError(text, self._why(text))
        return text

    def _has(self, scheme: str, host: str, port: str | None) -> bool:
        is_known = not self.schemes or scheme.lower() in self.schemes
        is_own = scheme.lower() not in _OF_THE_WEB and _OWN_HOST.fullmatch(host)
        return is_known and bool(is_own or is_host(host)) and is_port(port)

    def _why(self, text: str) -> str:
        _, separator, rest = text.partition("://")
        if " " in text:
            return COMMAS
        if not separator:
            return "its scheme is missing"
        if "*" in text:
            return "there are no wildcards"
        return "leave out the slash and what follows" if "/" in rest else ""


@dataclass(frozen=True)
class TrustedOrigin(Origin):
    """As Django's CSRF_TRUSTED_ORIGINS, which compares exactly but for a wildcard."""

    example = "https://admin.example.com or https://*.example.com"
    schemes: tuple[str, ...] = ("http", "https")

    def read(self, text: str) -> str:
        super().read(text.replace("://*.", "://any.", 1))
        return text.lower()


@dataclass(frozen=True)
class Network(Kind):
    wanted = "an address or a network"
    example = "10.0.0.7 or 10.0.0.0/8"

    def read(self, text: str) -> str:
        try:
            ip_network(text, strict=False)
        except ValueError:
            why = "names are not looked up" if text.isalpha() else ""
            raise WrongValueError(text, why) from None
        return text

    def check(self, value: object) -> None:
        super().check(str(value) if isinstance(value, _NETWORKS) else value)


@dataclass(frozen=True)
class Header(Kind):
    wanted = "the name of a header as it is sent"
    example = "X-Forwarded-For"

    def read(self, text: str) -> str:
        if text.lower() in _NO_HEADERS:
            raise WrongValueError(text, "leave it empty for none" if text.lower() in _OFF else "")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", text):
            why = "hyphens, not underscores, are in such names" if "_" in text else ""
            raise WrongValueError(text, why)
        return text


@dataclass(frozen=True)
class PushHost(Kind):
    wanted = "HOST or HOST:PORT (without one 443)"
    example = "push.example.com, .example.com (all below it) or push.example.com:8443"

    def read(self, text: str) -> str:
        push_host(text)
        return text


@dataclass(frozen=True)
class File(Kind):
    """A file that is there, or can be made."""

    wanted = "a file in a folder that can be written to"

    def read(self, text: str) -> str:
        try:
            why = _why_not_written(Path(text))
        except OSError as problem:
            why = str(problem.strerror)
        if why:
            raise WrongValueError(text, why)
        return text


def _why_not_written(file: Path) -> str:
    if file.is_dir():
        return f"{str(file)!r} is a folder"
    if not file.parent.is_dir():
        return f"there is no folder {str(file.parent)!r}"
    there = [file, file.parent] if file.exists() else [file.parent]
    return next((f"{str(one)!r} is not writable" for one in there if not _writes(one)), "")


def _writes(path: Path) -> bool:
    return os.access(path, os.W_OK)


def _parses(kind: type[IPv4Address] | type[IPv6Address], text: object) -> bool:
    try:
        return isinstance(text, str) and bool(kind(text))
    except ValueError:
        return False


def _why_no_place(text: str) -> str:
    if " " in text:
        return COMMAS
    if "://" in text:
        return "leave out the scheme"
    if _parses(IPv6Address, text) or text.count(":") > 1:
        return "an IPv6 address stands in brackets"
    return "" if text.isascii() else "names of other scripts are written in Punycode (xn--...)"


def _why_no_allowed_host(text: str) -> str:
    if text.startswith("*."):
        return f"write {text[1:]} for all hosts below it"
    if "_" in text:
        return "Django takes no underscore in a Host header"
    if re.fullmatch(_PLACE, text) and is_host(text.rpartition(":")[0]):
        return "leave out the port"
    return _why_no_place(text)
