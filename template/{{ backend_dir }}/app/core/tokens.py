"""Access and refresh tokens: what they are made of, and how they are checked."""

import base64
import hashlib
import hmac
import re
import secrets
import time
import uuid
from dataclasses import dataclass
from typing import Final, NewType

import jwt

from app.core.settings import PROJECT_SLUG, Settings

RawToken = NewType("RawToken", str)
"""A refresh token as the client holds it: 256 bits, base64url, 43 characters. Never stored."""
TokenHash = NewType("TokenHash", bytes)
"""SHA-256 of a refresh token, 32 bytes: what the database holds."""

REFRESH_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
NONCE_BYTES: Final = 32
CLOCK_SKEW_SECONDS: Final = 30


def new_refresh_token() -> RawToken:
    """Make the first token of a session."""
    return RawToken(secrets.token_urlsafe(32))


def child_refresh_token(parent: RawToken, nonce: bytes) -> RawToken:
    """Derive the token that replaces `parent`.

    nonce: 32 random bytes, written beside the dead parent. Only who holds the parent can make the
    child again, so a lost answer can be repeated although nothing plain is stored.
    """
    digest = hmac.digest(parent.encode(), nonce, "sha256")
    return RawToken(base64.urlsafe_b64encode(digest).rstrip(b"=").decode())


def hash_refresh_token(raw: RawToken) -> TokenHash:
    """Give what the database knows of a token. A fast hash will do: 256 bits can't be guessed."""
    return TokenHash(hashlib.sha256(raw.encode()).digest())


def parse_refresh_token(text: str | None) -> RawToken | None:
    """Give a cookie's value as a token, or None when it can't be one."""
    return RawToken(text) if text and REFRESH_TOKEN.fullmatch(text) else None


@dataclass(frozen=True)
class AccessClaims:
    """What a valid access token says: whose it is, and of which session."""

    user_id: uuid.UUID
    session_id: uuid.UUID


class AccessTokens:
    """Signs and checks access tokens: RFC 9068 in shape, HS256, no personal data."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.jwt_secret.get_secret_value()
        previous = [old.get_secret_value() for old in settings.jwt_previous_secrets]
        self._key_id = _key_id(secret)
        self._keys = {_key_id(key): key for key in [secret, *previous]}
        self._ttl = settings.jwt_access_ttl_seconds

    def issue(self, claims: AccessClaims, session_seconds_left: float) -> tuple[str, int]:
        """Sign a token. Gives it with its lifetime in seconds, which never outlasts the session."""
        now = int(time.time())
        ttl = min(self._ttl, int(session_seconds_left))
        payload = {
            "iss": PROJECT_SLUG,
            "aud": PROJECT_SLUG,
            "sub": str(claims.user_id),
            "sid": str(claims.session_id),
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + ttl,
        }
        headers = {"typ": "at+jwt", "kid": self._key_id}
        return jwt.encode(payload, self._keys[self._key_id], "HS256", headers), ttl

    def check(self, token: str | None, *, even_expired: bool = False) -> AccessClaims | None:
        """Give the claims of a token, or None for anything but a valid one.

        even_expired: accept a token past its end, to name the session that a logout ends.
        """
        if not token:
            return None
        # Each key in turn: to read the header first, for the key's name, would cost as much again.
        for key_id, key in self._keys.items():
            try:
                whole = jwt.decode_complete(
                    token,
                    key,
                    algorithms=["HS256"],
                    issuer=PROJECT_SLUG,
                    audience=PROJECT_SLUG,
                    options={
                        "require": ["iss", "aud", "sub", "sid", "jti", "iat", "exp"],
                        "verify_exp": not even_expired,
                        # PyJWT's leeway would also stretch exp; two replicas' clocks concern iat
                        # only.
                        "verify_iat": False,
                    },
                )
                header, payload = whole["header"], whole["payload"]
                # RFC 8725 3.11: the explicit type keeps other JWTs out. PyJWT does not check it.
                if header["typ"] != "at+jwt" or header["kid"] != key_id:
                    return None
                if payload["iat"] > time.time() + CLOCK_SKEW_SECONDS:
                    return None
                return AccessClaims(uuid.UUID(payload["sub"]), uuid.UUID(payload["sid"]))
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError):
                return None
        return None


def _key_id(secret: str) -> str:
    """Name a secret so that a token says which one signed it; tells nothing of the secret."""
    digest = hmac.digest(secret.encode(), b"kid", "sha256")
    return base64.urlsafe_b64encode(digest[:6]).decode()
