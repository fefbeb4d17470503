"""Waiting until the database is available, and until another migration has finished."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.database_url import DatabaseAddress
from app.db.session import DatabaseUnavailable, unavailable

log = structlog.stdlib.get_logger(__name__)

WAIT_SECONDS: Final = 60
PAUSE_SECONDS: Final = 1.0
# PostgreSQL, appendix A. 08: connection; 3D000: no such database, which some platforms create only
# after the server has started; 53: out of resources; 57P: starting or shutting down.
TEMPORARY: Final = ("08", "3D000", "53", "57P")
# An arbitrary number, the same for every replica.
MIGRATION_LOCK: Final = int.from_bytes(b"migrate")
# The lock ends with the transaction, so that no pooler can keep it.
TRY_LOCK: Final = text(f"SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})")


class MigrationLocked(Exception):
    """Another process has held the migration lock for too long.

    seconds: how long this process has waited.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"Another process has been migrating the database for {seconds:g} seconds. "
            "Run migrate again when it has finished."
        )


async def connect_with_retries(
    engine: AsyncEngine, address: DatabaseAddress, seconds: float
) -> AsyncConnection:
    """Connect, and try again for some seconds while the database is unavailable.

    Raise `DatabaseUnavailable` after that time, or immediately if waiting does not help, such as
    for a wrong password or an untrusted certificate.
    """
    deadline = time.monotonic() + seconds
    while True:
        failure = await _try_to_connect(engine, address, deadline - time.monotonic())
        if isinstance(failure, AsyncConnection):
            return failure
        left = deadline - time.monotonic()
        if left <= 0 or not _is_temporary(failure.__cause__):
            raise failure
        log.warning("waiting_for_database", reason=str(failure), seconds_left=round(left))
        await asyncio.sleep(min(PAUSE_SECONDS, left))


async def _try_to_connect(
    engine: AsyncEngine, address: DatabaseAddress, seconds: float
) -> AsyncConnection | DatabaseUnavailable:
    try:
        async with asyncio.timeout(max(seconds, PAUSE_SECONDS)):  # the last attempt needs time too
            return await engine.connect()
    except DatabaseUnavailable as error:
        return error
    except (DBAPIError, TimeoutError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        failure = unavailable(address, cause or error)
        failure.__cause__ = cause
        return failure


def _is_temporary(cause: BaseException | None) -> bool:
    if state := getattr(cause, "sqlstate", None):
        return str(state).startswith(TEMPORARY)
    if isinstance(cause, ssl.SSLError | PermissionError) or "rejected SSL" in str(cause):
        return False
    # The driver's internal error: none of several hosts is the primary server.
    return isinstance(cause, OSError | asyncpg.InternalClientError)


async def wait_for_lock(attempt: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Repeat an attempt to work under a lock until it returns True: the lock was free.

    Poll, because a waiting statement would block a migration that builds an index concurrently. The
    attempt must hold no connection when it returns: behind a pooler with few connections, the
    process that has the lock needs them. Raise `MigrationLocked` if another process holds the lock
    for longer.
    """
    deadline = time.monotonic() + seconds
    waiting = False
    while not await attempt():
        if time.monotonic() >= deadline:
            raise MigrationLocked(seconds)
        if not waiting:
            waiting = True
            log.warning("waiting_for_another_migration", seconds=seconds)
        await asyncio.sleep(PAUSE_SECONDS)
