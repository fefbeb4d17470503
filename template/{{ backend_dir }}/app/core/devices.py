"""Known devices: a signed token says that a user has signed in on this device before.

The token is not a session. It only decides which rate limits apply to an attempt to sign in, so
that guesses from elsewhere cannot lock a user out (OWASP, "Slow Down Online Guessing Attacks with
Device Cookies").
"""

import secrets
import time
import uuid
from dataclasses import dataclass
from typing import Final

import jwt

from app.core.settings import Settings

DEVICE_TTL_SECONDS: Final = 90 * 24 * 3600


@dataclass(frozen=True)
class Device:
    """A device, and the user who has signed in on it.

    id: a random text; it stays the same if the user signs in again before the token expires.
    """

    id: str
    user_id: uuid.UUID

    @classmethod
    def new(cls, user_id: uuid.UUID) -> "Device":
        """Return a device with a new ID."""
        return cls(secrets.token_urlsafe(16), user_id)


class DeviceTokens:
    """Signs and verifies device tokens, with keys that are derived from the JWT secrets.

    The keys differ from those of the access tokens, so that neither is accepted as the other.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.derive_keys("device")

    def issue(self, device: Device) -> str:
        """Return a token for a device, valid for `DEVICE_TTL_SECONDS`."""
        payload = {
            "sub": str(device.user_id),
            "jti": device.id,
            "exp": int(time.time()) + DEVICE_TTL_SECONDS,
        }
        return jwt.encode(payload, self._keys[0], "HS256")

    def verify(self, token: str | None) -> Device | None:
        """Return the device of a token, or None if the token is missing or not valid."""
        if not token:
            return None
        for key in self._keys:
            try:
                payload = jwt.decode(
                    token, key, algorithms=["HS256"], options={"require": ["sub", "jti", "exp"]}
                )
                return Device(payload["jti"], uuid.UUID(payload["sub"]))
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError):
                return None
        return None
