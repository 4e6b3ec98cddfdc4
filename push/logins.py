"""By which login a device was registered, and whether that login still lives.

Judged by stored facts whenever something is to be sent: a login may end without a signal
(`QuerySet.update`, a deleted session row, an expiry). What is kept of it opens nothing: a `sid`,
digests, and the first 8 of a session key's 32 characters, by which its row is found.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import reduce
from importlib import import_module
from operator import or_
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from holodrive.realtime import auth
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.tokens import REFRESH_JTI, SID, RefreshToken
from holodrive.realtime.wire import TokenExpired
from push.models import Device

_START = 8  # characters; the 24 that are left are 124 bits
_SALT = "push.logins"


@dataclass(frozen=True, slots=True)
class Login:
    """The fields of a device that say who registered it."""

    login: str = ""
    session_start: str = ""
    proof: str = ""
    refresh_jti: str = ""
    login_expires_at: datetime | None = None

    @property
    def fields(self) -> dict[str, Any]:
        return asdict(self)


def of_token(user: Any, claims: Any) -> Login:
    """It lives as long as the refresh token that came with this access token: both are as old."""
    issued, now = claims.get("iat"), timezone.now()
    if isinstance(issued, int | float) and 0 < issued < now.timestamp():
        now = datetime.fromtimestamp(issued, tz=UTC)
    return Login(
        login=str(claims.get(SID) or ""),
        proof=proof_of(user, is_session=False),
        refresh_jti=str(claims.get(REFRESH_JTI) or ""),
        login_expires_at=now + RefreshToken.lifetime,
    )


def of_session(user: Any, session: Any) -> Login:
    """It lives as long as the session's row; where sessions are not rows, as long as it would live
    without another request.
    """
    key = session.session_key
    proof = proof_of(user, is_session=True)
    if not key:
        return Login(proof=proof, login_expires_at=timezone.now() + RefreshToken.lifetime)
    expires_at = None if _sessions() is not None else session.get_expiry_date()
    start = key[:_START] if expires_at is None else ""
    return Login(auth.digest(key), start, proof, login_expires_at=expires_at)


def refuse_replaced(login: Login) -> None:
    """Raise TokenExpired if the refresh token that came with this access token is used up: a device
    stored with it would end at the next push. To be called in the transaction that stores it, so
    that a refresh at the same moment waits, and then renews the device.
    """
    if not login.refresh_jti:
        return
    list(OutstandingToken.objects.select_for_update().filter(jti=login.refresh_jti))
    if BlacklistedToken.objects.filter(token__jti=login.refresh_jti).exists():
        raise TokenExpired("A refresh has replaced this token: use the newer one.")


def living(devices: QuerySet[Device], now: datetime) -> list[Device]:
    """Those of them whose login lives, in as many queries for all as for one. The others are
    deleted; but the user of a device who is deactivated may come back, and has it again then.
    """
    revoked = RevokedSession.objects.filter(sid=OuterRef("login")).exclude(sid="")
    used_up = BlacklistedToken.objects.filter(token__jti=OuterRef("refresh_jti"))
    ended = Exists(revoked) | Exists(used_up)
    rows = list(devices.select_related("user").annotate(is_ended=ended))
    sessions = _living_sessions({row.session_start for row in rows} - {""}, now)
    dead = [row for row in rows if not _lives(row, sessions, now)]
    _delete(dead)
    return [row for row in rows if row not in dead and getattr(row.user, "is_active", True)]


def renew(sid: str, jti: str, expires_at: datetime) -> None:
    """The login was refreshed: the refresh token that it goes on with."""
    for device in Device.objects.filter(login=sid).select_related("user"):
        if not _is_proved(device):
            continue  # a changed password is not undone by a refresh
        device.proof = device.proof and proof_of(device.user, is_session=False)
        device.refresh_jti, device.login_expires_at = jti, expires_at
        device.save(update_fields=["proof", "refresh_jti", "login_expires_at"])


def proof_of(user: Any, *, is_session: bool) -> str:
    """A digest that changes with the password, and with the key that signs such logins."""
    if is_session:
        return auth.digest(user.get_session_auth_hash())
    return _of_token(user, _keys()[0])


def bind(device: Any, user: Any = None) -> None:
    """Give the proof to a device that was stored without one."""
    device.proof = proof_of(user or device.user, is_session=is_of_session(device))


def is_of_session(device: Any) -> bool:
    """The digest of a session's key is longer than a `sid`."""
    return len(device.login) == 64


def _lives(device: Any, sessions: set[str], now: datetime) -> bool:
    if device.session_start:
        is_over = device.login not in sessions
    else:
        _adopt(device, now)
        is_over = device.login_expires_at <= now
    return not is_over and not device.is_ended and _is_proved(device)


def _adopt(device: Device, now: datetime) -> None:
    """Of one that came without these facts, by code or from a process of the release before: it is
    bound to its user as they are now, and lives as long as a login does.
    """
    if not device.proof:
        bind(device)
        Device.objects.filter(pk=device.pk, proof="").update(proof=device.proof)
    if device.login_expires_at is None:
        device.login_expires_at = now + RefreshToken.lifetime
        Device.objects.filter(pk=device.pk, login_expires_at=None).update(
            login_expires_at=device.login_expires_at
        )


def _is_proved(device: Device) -> bool:
    """The password is the one of then, and so is the key that the login was signed with."""
    return not device.proof or any(
        constant_time_compare(device.proof, known) for known in _proofs(device.user)
    )


def _proofs(user: Any) -> Iterator[str]:
    for key in _keys():
        yield _of_token(user, key)
    for hash in (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()):
        yield auth.digest(hash)


def _of_token(user: Any, key: str) -> str:
    return salted_hmac(_SALT, user.password, secret=key, algorithm="sha256").hexdigest()


def _keys() -> list[str]:
    """Tokens signed with any of these are good; new ones are signed with the first."""
    key = api_settings.VERIFYING_KEY or api_settings.SIGNING_KEY
    older = settings.JWT_SIGNING_KEY_FALLBACKS
    if not older and api_settings.SIGNING_KEY == settings.SECRET_KEY:
        older = settings.SECRET_KEY_FALLBACKS
    return [key, *older]


def _sessions() -> Any:
    """The model of sessions; None where they are not kept in the database."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    return store.get_model_class() if hasattr(store, "get_model_class") else None


def _living_sessions(starts: Iterable[str], now: datetime) -> set[str]:
    model = _sessions()
    if not starts or model is None:
        return set()
    found = reduce(or_, (Q(session_key__startswith=start) for start in starts))
    rows = model.objects.filter(found, expire_date__gt=now)
    return {auth.digest(key) for key in rows.values_list("session_key", flat=True)}


def _delete(devices: Iterable[Device]) -> None:
    """But not what was registered or refreshed since it was read."""
    for device in devices:
        Device.objects.filter(
            pk=device.pk, renewed_at=device.renewed_at, login_expires_at=device.login_expires_at
        ).delete()
