"""Engine and sessions: how the application talks to Postgres."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from starlette.requests import HTTPConnection

from app.core.database_url import DatabaseAddress
from app.core.settings import Settings
from app.db.limits import IDLE_IN_TRANSACTION_SECONDS, MIGRATION_IDLE_SECONDS, set_limits

DRIVER: Final = "postgresql+asyncpg://"
CONNECT_ERRORS: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
CHANGED_TABLE: Final = "a migration has changed a table that a statement reads"


class DatabaseUnavailable(Exception):
    """The database can not be reached, or has not answered in time."""


@dataclass(frozen=True)
class Database:
    """The pool of connections of one process, and the two ways to use it.

    sessions: makes `AsyncSession`s, for everything that writes. A session takes a connection at
        its first statement, and gives it back when its transaction ends.
    reads: for a single SELECT; without BEGIN and COMMIT it costs one round trip, not three.
    pooled: a transaction pooler stands in between.
    timeout_seconds: how long to wait for a connection, or for a place.
    places: see `place_for_locking`.
    address: where it connects, for error messages.
    """

    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    reads: AsyncEngine
    pooled: bool
    timeout_seconds: float
    places: asyncio.Semaphore
    address: DatabaseAddress

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make the pool. Connects to nothing yet."""
        address = settings.database
        pool_size = settings.database_pool_size + settings.database_max_overflow
        engine = create_async_engine(
            DRIVER,
            connect_args=_connect_args(address, settings.database_timeout_seconds),
            # All that may be opened is kept. SQLAlchemy's pool closes what is over its size as soon
            # as it comes back: under load, every few queries pay for a new connection.
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=settings.database_timeout_seconds,
            pool_use_lifo=True,
            hide_parameters=True,  # an error in the log must not show what a statement was given
        )
        event.listen(engine.sync_engine, "checkout", _refuse_closed_connection)
        event.listen(engine.sync_engine, "handle_error", partial(_hang_up, address), retval=True)
        event.listen(engine.sync_engine, "handle_error", _excuse_changed_table, retval=True)
        # Through a transaction pooler two round trips of one statement may reach two servers
        # unless they stand in a transaction.
        reads = engine if address.pooled else engine.execution_options(isolation_level="AUTOCOMMIT")
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        return cls(
            engine,
            sessions,
            reads,
            address.pooled,
            settings.database_timeout_seconds,
            asyncio.Semaphore(max(1, pool_size * 2 // 3)),
            address,
        )

    @asynccontextmanager
    async def place_for_locking(self) -> AsyncIterator[None]:
        """Hold one of the places for transactions that may wait for another's lock.

        There are fewer places than connections. However many requests wait for one row, a request
        that waits for nobody always finds a connection. Take the place before the transaction
        begins. Raise `DatabaseUnavailable` if no place is free within `timeout_seconds`.
        """
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self.places.acquire()
        except TimeoutError:
            raise DatabaseUnavailable("too many transactions wait for locks") from None
        try:
            yield
        finally:
            self.places.release()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def create_migration_engine(settings: Settings) -> AsyncEngine:
    """Make the engine for migrations: one connection, and statements that may take long."""
    address = settings.migration_database
    args = _connect_args(address, settings.database_timeout_seconds, MIGRATION_IDLE_SECONDS)
    args["command_timeout"] = None
    engine = create_async_engine(
        DRIVER, connect_args=args, poolclass=NullPool, hide_parameters=True
    )
    event.listen(engine.sync_engine, "handle_error", partial(_hang_up, address), retval=True)
    return engine


async def get_db(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """Give an endpoint a session. Whoever writes commits, with `async with db.begin():`.

    Nothing is committed here: what stands behind a dependency's `yield` runs after the answer has
    been sent.
    """
    database: Database = connection.app.state.database
    async with database.sessions() as session:
        yield session


def _connect_args(
    address: DatabaseAddress,
    timeout_seconds: float,
    idle_seconds: int = IDLE_IN_TRANSACTION_SECONDS,
) -> dict[str, Any]:
    """Give the arguments of `asyncpg.connect`, and SQLAlchemy's own for this driver."""
    args: dict[str, Any] = {
        "async_creator_fn": partial(_connect, address, idle_seconds),
        "dsn": address.dsn,
        "timeout": address.connect_timeout or timeout_seconds,
        # Bounds each statement and each wait for a lock, through a pooler too.
        "command_timeout": timeout_seconds,
    }
    if address.tls:
        args["ssl"] = address.tls
    if address.pooled:
        args["statement_cache_size"] = 0
        args["prepared_statement_cache_size"] = 0
        args["prepared_statement_name_func"] = lambda: f"__{uuid.uuid4()}__"
    return args


async def _connect(
    address: DatabaseAddress, idle_seconds: int, **kwargs: Any
) -> asyncpg.Connection:
    try:
        connection = await asyncpg.connect(**kwargs)
        await set_limits(
            connection,
            pooled=address.pooled,
            idle_seconds=idle_seconds,
            timeout_seconds=kwargs["timeout"],
        )
    except CONNECT_ERRORS as error:
        raise unavailable(address, error) from error
    return connection


def unavailable(address: DatabaseAddress, error: BaseException) -> DatabaseUnavailable:
    """Make the error that names the setting, the host and the reason, and no secret.

    Neither the message nor the cause may show the URL; asyncpg's tell host and reason only.
    """
    reason = f"{type(error).__name__}: {error}" if str(error) else "no response in time"
    return DatabaseUnavailable(f"{address.place}: {reason}")


def _refuse_closed_connection(
    connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: object
) -> None:
    """Replace a connection that the server has closed meanwhile.

    asyncpg notices a closed socket by itself, so this needs no round trip, unlike a ping.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def lost_connection(error: BaseException, address: DatabaseAddress) -> DatabaseUnavailable | None:
    """Tell a connection that is of no use any more from an answer of the server's, for which: None.

    The driver's internal error is what a connection gives between the server's last word and its
    end.
    """
    if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return unavailable(address, error)
    return None


def _hang_up(address: DatabaseAddress, context: ExceptionContext) -> DatabaseUnavailable | None:
    """Don't ask a server to roll back that may hang, or be gone: hang up, and say so."""
    lost = lost_connection(context.original_exception, address)
    if lost and context.connection:
        context.is_disconnect = True
        dbapi_connection = context.connection.connection.dbapi_connection
        if dbapi_connection is not None:
            dbapi_connection.driver_connection.terminate()
        return lost
    return None


def _excuse_changed_table(context: ExceptionContext) -> DatabaseUnavailable | None:
    """After a migration changed a column's type, what was prepared before fails once: try again.

    The driver has forgotten all prepared statements by now. Rare, and no fault of this program.
    """
    cause = getattr(context.original_exception, "__cause__", None)
    if isinstance(cause, asyncpg.InvalidCachedStatementError):
        return DatabaseUnavailable(CHANGED_TABLE)
    return None
