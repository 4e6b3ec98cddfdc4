"""The keys of tokens: one signs, those before it still verify."""

import functools
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from jwt import PyJWTError
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken
from rest_framework_simplejwt.settings import api_settings


class KeyRing(TokenBackend):
    """Signs with one key; what was signed with one of the fallbacks is accepted too. A fallback is
    what verifies: the secret itself or, of a pair of keys, the public one.
    """

    def __init__(
        self, algorithm: str, key: str, verifying_key: str, jwk_url: str | None, *fallbacks: str
    ) -> None:
        super().__init__(
            algorithm,
            key,
            verifying_key,
            api_settings.AUDIENCE,
            api_settings.ISSUER,
            jwk_url,
            api_settings.LEEWAY,
            api_settings.JSON_ENCODER,
        )
        self._older = None
        if fallbacks:
            first, *rest = fallbacks
            self._older = KeyRing(algorithm, first, first, None, *rest)
            self._older.must_verify()

    def must_verify(self) -> None:
        """Raises ImproperlyConfigured if the key can verify nothing, before a token meets it."""
        try:
            _ = self.get_verifying_key(b"")  # type: ignore[arg-type]  # of no interest to a fallback
        except (PyJWTError, ValueError, TypeError, AttributeError) as problem:
            wanted = "a secret" if self.algorithm.startswith("HS") else "a public key in PEM"
            raise ImproperlyConfigured(
                "A fallback of the key that signs tokens verifies nothing that "
                f"{self.algorithm} has signed: {wanted} is wanted."
            ) from problem

    @functools.cached_property
    def prepared_verifying_key(self) -> Any:
        """Of a private key, which a fallback may be as well, its public half."""
        key = super().prepared_verifying_key
        return key.public_key() if hasattr(key, "public_key") else key

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        try:
            found: dict[str, Any] = super().decode(token, verify)
        except TokenBackendExpiredToken:
            raise  # the signature was right
        except TokenBackendError:
            if self._older is None:
                raise
            return self._older.decode(token, verify)
        except (ValueError, TypeError, OverflowError, RecursionError) as problem:
            # Claims of kinds that PyJWT does not expect, or a header nested thousands deep.
            raise TokenBackendError("Token is malformed") from problem
        return found


_ring = functools.lru_cache(KeyRing)


def ring() -> KeyRing:
    """The keys as the settings have them. Raises ImproperlyConfigured."""
    key: str = api_settings.SIGNING_KEY
    fallbacks = settings.JWT_SIGNING_KEY_FALLBACKS
    if not fallbacks and key == settings.SECRET_KEY:
        fallbacks = settings.SECRET_KEY_FALLBACKS  # what is signed with it is rotated with it
    verifying_key: str = api_settings.VERIFYING_KEY
    return _ring(api_settings.ALGORITHM, key, verifying_key, api_settings.JWK_URL, *fallbacks)
