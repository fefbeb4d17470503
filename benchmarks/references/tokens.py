"""Verifying and issuing the application's tokens with as little code as possible."""

import base64
import hashlib
import hmac
import os
import re
import secrets
import time
import uuid

import jwt

NAME = os.environ["PROJECT_SLUG"]
SECRET = os.environ["JWT_SECRET"]
KEY_ID = base64.urlsafe_b64encode(hmac.digest(SECRET.encode(), b"kid", "sha256")[:6]).decode()
ACCESS, REFRESH = "__Host-access", "__Host-refresh"
ACCESS_SECONDS = 900
CLOCK_SKEW_SECONDS = 30
OPTIONS = {"require": ["iss", "aud", "sub", "sid", "jti", "iat", "exp"], "verify_iat": False}
REFRESH_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class Refused(Exception):
    """The token is missing or invalid."""


def check(token: str | None) -> tuple[uuid.UUID, uuid.UUID]:
    """Return the user and the session of an access token. Raise `Refused` if it is not valid."""
    if not token:
        raise Refused
    try:
        whole = jwt.decode_complete(
            token, SECRET, algorithms=["HS256"], issuer=NAME, audience=NAME, options=OPTIONS
        )
        header, payload = whole["header"], whole["payload"]
        if header["typ"] != "at+jwt" or header["kid"] != KEY_ID:
            raise Refused
        if payload["iat"] > time.time() + CLOCK_SKEW_SECONDS:
            raise Refused
        return uuid.UUID(payload["sub"]), uuid.UUID(payload["sid"])
    except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
        raise Refused from error


def issue(user_id: uuid.UUID, session_id: uuid.UUID) -> str:
    """Return a signed access token."""
    now = int(time.time())
    payload = {
        "iss": NAME,
        "aud": NAME,
        "sub": str(user_id),
        "sid": str(session_id),
        "jti": secrets.token_urlsafe(16),
        "iat": now,
        "exp": now + ACCESS_SECONDS,
    }
    return jwt.encode(payload, SECRET, "HS256", {"typ": "at+jwt", "kid": KEY_ID})


def refresh_hash(token: str | None) -> bytes:
    """Return the hash of a refresh token, as stored in the database. Raise `Refused`."""
    if not token or not REFRESH_TOKEN.fullmatch(token):
        raise Refused
    return hashlib.sha256(token.encode()).digest()


def derive_successor(predecessor: str, nonce: bytes) -> str:
    """Derive the successor of a refresh token."""
    digest = hmac.digest(predecessor.encode(), nonce, "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
