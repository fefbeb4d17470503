"""Throttling of password attempts, in Postgres, so that a limit holds over all replicas.

An attempt is counted before the password is hashed, so that of fifty at once only as many are
hashed as are allowed, and taken back when it succeeds.
"""

import hmac
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from typing import Final

from sqlalchemy import Interval, case, cast, func, type_coerce
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.security import HashingUnavailable
from app.core.settings import Settings
from app.models import AttemptCount
from app.services.errors import TooManyAttempts


@dataclass(frozen=True)
class Limit:
    """At most `attempts` of one `subject` within `window`, counted from the first."""

    kind: str
    subject: str
    attempts: int
    window: timedelta


QUARTER_HOUR: Final = timedelta(minutes=15)
HOUR: Final = timedelta(hours=1)


def login_limits(username: str, address: str | None) -> list[Limit]:
    """Give the limits of a login; the same for a user who does not exist."""
    client = _client(address)
    return [
        Limit("login by email and address", f"{username} {client}", 5, QUARTER_HOUR),
        Limit("login by email", username, 100, HOUR),
        Limit("login by address", client, 50, QUARTER_HOUR),
    ]


def sign_up_limits(address: str | None) -> list[Limit]:
    """Give the limit of a sign-up."""
    return [Limit("sign-up by address", _client(address), 50, QUARTER_HOUR)]


def current_password_limits(user_id: str) -> list[Limit]:
    """Give the limit of guesses at the current password by someone who is signed in."""
    return [Limit("current password", user_id, 5, QUARTER_HOUR)]


class Throttle:
    """Counts attempts; with `LOGIN_THROTTLE_ENABLED=false` it counts nothing."""

    def __init__(self, settings: Settings) -> None:
        # While the secret is being changed replicas sign with different ones, and each pair of
        # neighbours in time shares one: counting under all of them keeps the limits whole.
        secrets = (settings.jwt_secret, *settings.jwt_previous_secrets)
        self._keys = [
            hmac.digest(secret.get_secret_value().encode(), b"throttle", "sha256")
            for secret in secrets
        ]
        self._enabled = settings.login_throttle_enabled

    async def count(self, db: AsyncSession, limits: Iterable[Limit]) -> None:
        """Count an attempt, in the caller's transaction.

        Raises `TooManyAttempts`: let it end the transaction, so that an attempt that is turned away
        counts nowhere, and one address can't use up what the email has from all addresses.
        """
        await self._add(db, limits, 1)

    async def take_back(self, db: AsyncSession, limits: Iterable[Limit]) -> None:
        """Uncount an attempt that succeeded."""
        await self._add(db, limits, -1)

    @asynccontextmanager
    async def take_back_if_unheard(
        self, db: AsyncSession, limits: list[Limit]
    ) -> AsyncIterator[None]:
        """Uncount an attempt that ends in `HashingUnavailable`: its password was never checked."""
        try:
            yield
        except HashingUnavailable:
            async with db.begin():
                await self.take_back(db, limits)
            raise

    async def _add(self, db: AsyncSession, limits: Iterable[Limit], change: int) -> None:
        if not self._enabled:
            return
        by_key = {self._key(key, limit): limit for limit in limits for key in self._keys}
        now = func.clock_timestamp()
        statement = insert(AttemptCount).values(
            # In the order of the keys, so that two transactions never wait for each other.
            [
                {
                    "key": key,
                    "attempts": max(change, 0),
                    "window_ends_at": now + cast(by_key[key].window, Interval),
                }
                for key in sorted(by_key)
            ]
        )
        over = AttemptCount.window_ends_at <= now
        rows = await db.execute(
            statement.on_conflict_do_update(
                index_elements=[AttemptCount.key],
                set_={
                    "attempts": case(
                        (over, statement.excluded.attempts),
                        else_=func.greatest(AttemptCount.attempts + change, 0),
                    ),
                    "window_ends_at": case(
                        (over, statement.excluded.window_ends_at),
                        else_=AttemptCount.window_ends_at,
                    ),
                },
            ).returning(
                AttemptCount.key,
                AttemptCount.attempts,
                type_coerce(AttemptCount.window_ends_at - now, Interval),
            )
        )
        waits = [left for key, attempts, left in rows if attempts > by_key[key].attempts]
        if waits and change > 0:
            raise TooManyAttempts(max(waits))

    @staticmethod
    def _key(key: bytes, limit: Limit) -> bytes:
        return hmac.digest(key, f"{limit.kind}\0{limit.subject}".encode(), "sha256")


def _client(address: str | None) -> str:
    """Give what counts as one client: a household's IPv6 network is a /64."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
