"""The gate: what a request passes that takes a password from the network."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.security import PasswordHasher, Requester
from app.core.settings import Settings
from app.db.driver import driver_connection
from app.db.session import Database
from app.services.throttle import Limit, Throttle

# The hash may change between its check and the lock: once by a parallel login that upgrades it,
# and once more by a password change in between.
MAX_CHECKS: Final = 3


@dataclass(frozen=True)
class PasswordGate:
    """What such a request needs: to count its attempt, to hash its password, and to write the rest.

    db: a session of the request's own. database, hasher, throttle: of the process.
    """

    db: AsyncSession
    database: Database
    hasher: PasswordHasher
    throttle: Throttle
    settings: Settings

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection for single SELECTs, which wait for a place and for no lock."""
        # Behind a pooler even one statement needs a transaction around it; see `Database`.
        connection = driver_connection(self.database, transaction=self.database.pooled)
        # A place bounds how many rejected requests keep the event loop busy at once, so that the
        # requests of others pass them.
        async with self.database.place_for_locking(), connection as driver:
            yield driver

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Begin a transaction that may wait for locks, and commit it at the end."""
        async with self.database.place_for_locking(), self.db.begin():
            yield self.db

    @asynccontextmanager
    async def take_back_on(
        self, errors: type[Exception] | tuple[type[Exception], ...], limits: Sequence[Limit]
    ) -> AsyncIterator[None]:
        """Remove an attempt from the counts if it ends in an error that is no wrong guess."""
        try:
            yield
        except errors:
            async with self.transaction() as db:
                await self.throttle.take_back(db, limits)
            raise

    def requester(self, *keys: str, is_known: bool = False) -> Requester:
        """Describe who asks for a hash; without rate limits, nobody's share is bounded."""
        return Requester(frozenset(keys if self.throttle.enabled else ()), is_known)
