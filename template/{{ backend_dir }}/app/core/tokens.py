"""Access tokens, and opaque tokens: refresh tokens, and the tokens in links sent by mail."""

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
"""An opaque token as the client receives it, with 256 random bits. Never stored."""
TokenHash = NewType("TokenHash", bytes)
"""The SHA-256 of an opaque token, 32 bytes, which the database stores."""

# All of them except personal access tokens, which `personal_tokens.py` describes.
OPAQUE_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
NONCE_BYTES: Final = 32
CLOCK_SKEW_SECONDS: Final = 30


def generate_token() -> RawToken:
    """Return a new token, such as the first refresh token of a session."""
    return RawToken(secrets.token_urlsafe(32))


def derive_successor(predecessor: RawToken, nonce: bytes) -> RawToken:
    """Return the successor of a refresh token.

    nonce: 32 random bytes, which are stored next to the rotated token. A client that presents the
    rotated token can receive the same successor again, although no token is stored in plaintext.
    """
    digest = hmac.digest(predecessor.encode(), nonce, "sha256")
    return RawToken(base64.urlsafe_b64encode(digest).rstrip(b"=").decode())


def hash_token(raw: RawToken) -> TokenHash:
    """Return the hash of a token. A fast hash is enough, because nobody can guess 256 bits."""
    return TokenHash(hashlib.sha256(raw.encode()).digest())


def parse_token(text: str | None) -> RawToken | None:
    """Return a cookie's or a link's value as a token, or None if it is not well-formed."""
    return RawToken(text) if text and OPAQUE_TOKEN.fullmatch(text) else None


@dataclass(frozen=True)
class AccessClaims:
    """The claims of a valid access token: its user and its session."""

    user_id: uuid.UUID
    session_id: uuid.UUID


class AccessTokens:
    """Issues and verifies access tokens: JWTs that follow RFC 9068, signed with HS256.

    They contain no personal data.
    """

    def __init__(self, settings: Settings) -> None:
        secret = settings.jwt_secret.get_secret_value()
        previous = [old.get_secret_value() for old in settings.jwt_previous_secrets]
        self._key_id = _key_id(secret)
        self._keys = {_key_id(key): key for key in [secret, *previous]}
        self._ttl = settings.jwt_access_ttl_seconds

    def issue(self, claims: AccessClaims, session_seconds_left: float) -> tuple[str, int]:
        """Return a signed token and its lifetime in seconds, which never exceeds the session's."""
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

    def verify(self, token: str | None, *, allow_expired: bool = False) -> AccessClaims | None:
        """Return the claims of a token, or None if it is not valid.

        allow_expired: accept an expired token, to find the session that a sign-out revokes.
        """
        if not token:
            return None
        # Try each key, because reading the key ID from the header first would take twice as long.
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
                        "verify_exp": not allow_expired,
                        # Clocks of replicas differ, but PyJWT's leeway for iat would also extend
                        # exp. So the code below checks iat.
                        "verify_iat": False,
                    },
                )
                header, payload = whole["header"], whole["payload"]
                # RFC 8725 3.11: the explicit type excludes other JWTs. PyJWT does not check it.
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
    """Return the key ID of a secret for the header. It reveals nothing about the secret."""
    digest = hmac.digest(secret.encode(), b"kid", "sha256")
    return base64.urlsafe_b64encode(digest[:6]).decode()
