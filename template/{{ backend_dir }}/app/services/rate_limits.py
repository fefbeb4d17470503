"""Rate limits on passwords and on mail, counted in Postgres for all replicas together.

An attempt is counted before its password is hashed. Of fifty simultaneous guesses, only as many as
the limit allows are therefore hashed. Most limits apply to guesses, and an attempt that succeeds is
removed from their count. A few limits apply to successful requests.
"""

import hmac
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from sqlalchemy import (
    ARRAY,
    Integer,
    Interval,
    LargeBinary,
    bindparam,
    case,
    column,
    func,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.core.devices import Device
from app.core.security import Requester
from app.core.settings import Settings
from app.db.session import Database
from app.models import AttemptCount
from app.services.errors import TooManyAttempts


@dataclass(frozen=True)
class RateLimit:
    """At most `attempts` of one `subject` within `period`, which begins with the first one."""

    kind: str
    subject: str
    attempts: int
    period: timedelta


QUARTER_HOUR: Final = timedelta(minutes=15)
HOUR: Final = timedelta(hours=1)

NOW: Final = func.clock_timestamp()
LIMITS: Final = (
    func.unnest(
        bindparam("keys", type_=ARRAY(LargeBinary)), bindparam("attempts", type_=ARRAY(Integer))
    )
    .table_valued(column("key", LargeBinary), column("attempts", Integer), name="limits")
    .render_derived()
)
WAIT: Final = (
    select(type_coerce(func.max(AttemptCount.window_ends_at - NOW), Interval))
    .join(LIMITS, LIMITS.c.key == AttemptCount.key)
    .where(AttemptCount.attempts >= LIMITS.c.attempts, AttemptCount.window_ends_at > NOW)
)

# One statement for any number of keys, so that SQLAlchemy compiles it only once. It compiles an
# INSERT with several rows of VALUES at each execution, which takes milliseconds.
COUNTED: Final = (
    func.unnest(
        bindparam("keys", type_=ARRAY(LargeBinary)), bindparam("periods", type_=ARRAY(Interval))
    )
    .table_valued(column("key", LargeBinary), column("period", Interval), name="counted")
    .render_derived()
)
CHANGE: Final = bindparam("change", type_=Integer)
NEW_COUNTS: Final = insert(AttemptCount).from_select(
    ["key", "attempts", "window_ends_at"],
    # In the order of the keys, so that two transactions never wait for each other.
    select(COUNTED.c.key, func.greatest(CHANGE, 0), NOW + COUNTED.c.period).order_by(COUNTED.c.key),
)
IS_OVER: Final = AttemptCount.window_ends_at <= NOW
COUNT: Final = (
    NEW_COUNTS.on_conflict_do_update(
        index_elements=[AttemptCount.key],
        set_={
            "attempts": case(
                (IS_OVER, NEW_COUNTS.excluded.attempts),
                else_=func.greatest(AttemptCount.attempts + CHANGE, 0),
            ),
            "window_ends_at": case(
                (IS_OVER, NEW_COUNTS.excluded.window_ends_at),
                else_=AttemptCount.window_ends_at,
            ),
        },
    )
    .returning(
        AttemptCount.key,
        AttemptCount.attempts,
        type_coerce(AttemptCount.window_ends_at - NOW, Interval),
    )
    .execution_options(dml_strategy="raw")  # the parameters are not the values of a row
)

# Prefix lengths of IPv6 networks, and the factors for their limits. A provider assigns a /64, a /56
# or a /48 to a customer (RFC 6177). With limits for a /64 only, a customer with a /48 would have
# 65,536 of them.
IPV6_NETWORKS: Final = {64: 1, 56: 4, 48: 16}


def login_limits(username: str, address: str | None) -> list[RateLimit]:
    """Return the limits on guesses at one account; they are the same for an unknown user."""
    return [
        RateLimit(
            "login by email and address", f"{username} {networks(address)[0]}", 5, QUARTER_HOUR
        ),
        RateLimit("login by email", username, 100, HOUR),
    ]


def address_limits(address: str | None) -> list[RateLimit]:
    """Return the limits on guesses that one client makes at all accounts together."""
    return [
        RateLimit("login by address", network, 50 * factor, QUARTER_HOUR)
        for network, factor in zip(networks(address), IPV6_NETWORKS.values(), strict=False)
    ]


def device_limits(device: Device) -> list[RateLimit]:
    """Return the limits on guesses from devices on which the user has signed in before.

    They replace all other limits on guesses. The second limit applies to an attacker who collected
    devices with a password that has since been changed.
    """
    return [
        RateLimit("login by device", device.id, 5, QUARTER_HOUR),
        RateLimit("login by known devices", str(device.user_id), 100, HOUR),
    ]


def success_limits(user_id: str) -> list[RateLimit]:
    """Return the limit on successful sign-ins to one account."""
    return [RateLimit("successful login", user_id, 300, HOUR)]


def sign_up_limits(address: str | None) -> list[RateLimit]:
    """Return the limits on sign-ups, whether they succeed or not."""
    return [
        RateLimit("sign-up by address", network, 50 * factor, HOUR)
        for network, factor in zip(networks(address), IPV6_NETWORKS.values(), strict=False)
    ]


def recipient_limits(email: str) -> list[RateLimit]:
    """Return the limit on messages to one address."""
    return [RateLimit("email link by email", email, 5, HOUR)]


def email_link_limits(email: str, address: str | None) -> list[RateLimit]:
    """Return the limits on messages to one address, and on those that one client requests."""
    return [
        *recipient_limits(email),
        *(
            RateLimit("email link by address", network, 20 * factor, HOUR)
            for network, factor in zip(networks(address), IPV6_NETWORKS.values(), strict=False)
        ),
    ]


def account_link_limits(user_id: str, email: str, address: str | None) -> list[RateLimit]:
    """Return the limits on messages that a signed-in user requests, to an address."""
    return [RateLimit("email link by user", user_id, 5, HOUR), *email_link_limits(email, address)]


def notice_limits(email: str) -> list[RateLimit]:
    """Return the limit on notices to one address."""
    return [RateLimit("notice by email", email, 10, HOUR)]


def current_password_limits(user_id: str) -> list[RateLimit]:
    """Return the limit on guesses at the current password by an authenticated user."""
    return [RateLimit("current password", user_id, 5, QUARTER_HOUR)]


def password_change_limits(user_id: str) -> list[RateLimit]:
    """Return the limit on successful password changes."""
    return [RateLimit("password change", user_id, 20, HOUR)]


class RateLimiter:
    """Counts attempts; with `LOGIN_THROTTLE_ENABLED=false` it counts nothing."""

    def __init__(self, settings: Settings) -> None:
        # During a secret rotation, replicas sign with different secrets, but replicas of
        # consecutive deploys share one. Counting under every secret keeps the limits intact.
        self._keys = settings.derive_keys("throttle")
        self.enabled: Final = settings.login_throttle_enabled

    async def check(self, connection: AsyncConnection, limits: Iterable[RateLimit]) -> None:
        """Raise `TooManyAttempts` if one of the limits is reached.

        It only reads: a client that is over a limit never waits for a lock, however many requests
        it sends.
        """
        if not self.enabled:
            return
        by_key = self._by_key(limits)
        attempts = [limit.attempts for limit in by_key.values()]
        wait = await connection.scalar(WAIT, {"keys": list(by_key), "attempts": attempts})
        if wait is not None:
            raise TooManyAttempts(wait)

    async def hit(self, db: AsyncSession, limits: Iterable[RateLimit]) -> None:
        """Count an attempt, in the caller's transaction.

        Raise `TooManyAttempts` if it is over a limit. Let the exception end the transaction: no
        limit then counts a rejected attempt, and one address cannot use up the limit that an email
        has for all addresses.
        """
        await self._add(db, limits, 1)

    async def refund(self, db: AsyncSession, limits: Iterable[RateLimit]) -> None:
        """Remove an attempt that succeeded from the counts."""
        await self._add(db, limits, -1)

    @asynccontextmanager
    async def refund_on(
        self,
        errors: type[Exception] | tuple[type[Exception], ...],
        database: Database,
        limits: Iterable[RateLimit],
    ) -> AsyncIterator[None]:
        """Remove an attempt from the counts if it ends in an error that is not a wrong guess."""
        try:
            yield
        except errors:
            async with database.transaction() as db:
                await self.refund(db, limits)
            raise

    def requester(self, *keys: str, is_known: bool = False) -> Requester:
        """Return the requester of a hash. Without rate limits, `MAX_PER_CLIENT` does not apply."""
        return Requester(frozenset(keys if self.enabled else ()), is_known)

    async def _add(self, db: AsyncSession, limits: Iterable[RateLimit], change: int) -> None:
        if not self.enabled:
            return
        by_key = self._by_key(limits)
        periods = [limit.period for limit in by_key.values()]
        rows = await db.execute(COUNT, {"keys": list(by_key), "periods": periods, "change": change})
        waits = [left for key, attempts, left in rows if attempts > by_key[key].attempts]
        if waits and change > 0:
            raise TooManyAttempts(max(waits))

    def _by_key(self, limits: Iterable[RateLimit]) -> dict[bytes, RateLimit]:
        return {self._key(key, limit): limit for limit in limits for key in self._keys}

    @staticmethod
    def _key(key: bytes, limit: RateLimit) -> bytes:
        return hmac.digest(key, f"{limit.kind}\0{limit.subject}".encode(), "sha256")


def networks(address: str | None) -> list[str]:
    """Return the networks that count as one client, the smallest first.

    address: normalized, or None where there is none (the server may listen on a Unix socket).
    """
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return [address or ""]
    if isinstance(parsed, IPv6Address):
        return [str(ip_network((int(parsed), prefix), strict=False)) for prefix in IPV6_NETWORKS]
    return [str(parsed)]
