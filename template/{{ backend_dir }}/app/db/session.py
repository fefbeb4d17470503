"""The engine and the sessions through which the application uses Postgres."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self, TypeVar, TypeVarTuple

import asyncpg
from sqlalchemy import Connection, Row, Select, event
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
from sqlalchemy.util import greenlet_spawn

from app.core.database_url import DatabaseAddress
from app.core.settings import Settings
from app.db.limits import IDLE_IN_TRANSACTION_SECONDS, MIGRATION_IDLE_SECONDS, set_limits

Result = TypeVar("Result")
Row_ = TypeVarTuple("Row_")

DRIVER: Final = "postgresql+asyncpg://"
DRIVER_ARGUMENTS: Final = ("dsn", "timeout", "command_timeout", "ssl", "statement_cache_size")
CONNECT_ERRORS: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
# PostgreSQL, appendix A. 08: connection; 25006: read-only; 25P03: idle in transaction too long;
# 40: rolled back, try again; 53: out of resources; 55P03: lock not available; 57: shut down or
# canceled.
UNAVAILABLE_STATES: Final = ("08", "25006", "25P03", "40", "53", "55P03", "57")


class DatabaseUnavailable(Exception):
    """The database cannot be reached, does not respond in time, or asks to try again later.

    The message names the reason and contains no secret and no value of a statement.
    """


@dataclass(frozen=True)
class Database:
    """The connection pool of one process, and the ways to use it.

    A transaction that may wait for a lock begins with `transaction()` or `run_in_transaction()`. A
    single SELECT runs on a connection of `reads`: without BEGIN and COMMIT it costs one round trip,
    not three. `sessions` makes an `AsyncSession` for everything else.

    read_options: the execution options of `reads`.
    timeout_seconds: how long to wait for a lock slot.
    lock_slots: there are fewer of them than connections; see `lock_slot`.
    """

    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    reads: AsyncEngine
    read_options: Mapping[str, str]
    timeout_seconds: float
    lock_slots: asyncio.Semaphore

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Create the pool. This opens no connection."""
        address = settings.database
        pool_size = settings.database_pool_size + settings.database_max_overflow
        engine = create_async_engine(
            DRIVER,
            connect_args=_connect_args(address, settings.database_timeout_seconds),
            # The pool keeps every connection that it has opened. By default, SQLAlchemy would close
            # an overflow connection when it is returned, and open another one under load.
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=settings.database_timeout_seconds,
            pool_use_lifo=True,
            hide_parameters=True,  # an error in the log must not show the values of a statement
        )
        event.listen(engine.sync_engine, "checkout", _replace_closed_connection)
        event.listen(engine.sync_engine, "handle_error", partial(_translate, address), retval=True)
        # With a transaction pooler, two round trips of one statement may use two connections to
        # the server unless they are in a transaction.
        read_options = {} if address.pooled else {"isolation_level": "AUTOCOMMIT"}
        return cls(
            engine,
            async_sessionmaker(engine, expire_on_commit=False),
            engine.execution_options(**read_options) if read_options else engine,
            read_options,
            settings.database_timeout_seconds,
            asyncio.Semaphore(max(1, pool_size * 2 // 3)),
        )

    async def select_one(
        self, statement: Select[*Row_], values: Mapping[str, Any]
    ) -> Row[*Row_] | None:
        """Return the only row of a SELECT in one round trip, or None.

        One greenlet takes a connection, executes the statement and returns the connection. An
        `AsyncConnection` of `reads` starts one for each of the three, and a task for the last one,
        so the same query takes a third more time.
        """

        def select_one() -> Row[*Row_] | None:
            with self.engine.sync_engine.connect() as connection:
                connection.execution_options(**self.read_options)
                return connection.execute(statement, values).one_or_none()

        return await greenlet_spawn(select_one)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Begin a transaction that may wait for a lock, and commit it at the end.

        Raise `DatabaseUnavailable`.
        """
        async with self.lock_slot(), self.sessions.begin() as db:
            yield db

    async def run_in_transaction(self, work: Callable[[Connection], Result]) -> Result:
        """Run a function in a transaction that may wait for a lock, and commit it at the end.

        The function does not use `await`: all its statements run in one greenlet. For a transaction
        of a few statements, this takes a fourth less time than `transaction()`.

        Raise `DatabaseUnavailable`, and what the function raises.
        """

        def run() -> Result:
            with self.engine.sync_engine.begin() as connection:
                return work(connection)

        async with self.lock_slot():
            return await greenlet_spawn(run)

    @asynccontextmanager
    async def lock_slot(self) -> AsyncIterator[None]:
        """Wait for one of the slots for transactions that may wait for a lock, and hold it.

        However many requests wait for the same row, a request that needs no lock always gets a
        connection. A sign-in, a sign-up and a password change also hold a slot while they check
        their limits. A flood of attempts therefore cannot take every connection, and few of the
        rejected attempts use the event loop at once.

        Raise `DatabaseUnavailable` if no slot is free within `timeout_seconds`.
        """
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self.lock_slots.acquire()
        except TimeoutError:
            raise DatabaseUnavailable("too many transactions wait for locks") from None
        try:
            yield
        finally:
            self.lock_slots.release()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def create_migration_engine(settings: Settings) -> AsyncEngine:
    """Return the engine for migrations, without a pool and without a limit for statements."""
    address = settings.migration_database
    args = _connect_args(address, settings.database_timeout_seconds, MIGRATION_IDLE_SECONDS)
    args["command_timeout"] = None
    engine = create_async_engine(
        DRIVER, connect_args=args, poolclass=NullPool, hide_parameters=True
    )
    event.listen(engine.sync_engine, "handle_error", partial(_translate, address), retval=True)
    return engine


async def connect_directly(
    address: DatabaseAddress, timeout_seconds: float, name: str
) -> asyncpg.Connection:
    """Open a connection of the driver itself, which can LISTEN. Raise `DatabaseUnavailable`.

    timeout_seconds: the limit for connecting, and for each statement. name: what Postgres calls the
        connection in `pg_stat_activity`.
    """
    args = _connect_args(address, timeout_seconds)
    return await args["async_creator_fn"](
        **{key: value for key, value in args.items() if key in DRIVER_ARGUMENTS},
        server_settings={"application_name": name},
    )


def _connect_args(
    address: DatabaseAddress,
    timeout_seconds: float,
    idle_seconds: int = IDLE_IN_TRANSACTION_SECONDS,
) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect`, and SQLAlchemy's own for this driver."""
    args: dict[str, Any] = {
        "async_creator_fn": partial(_connect, address, idle_seconds),
        "dsn": address.dsn,
        "timeout": address.connect_timeout or timeout_seconds,
        # Limits each statement and each wait for a lock, also through a pooler.
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
    """Return an error that names the setting, the host and the reason, but no secret.

    Neither the message nor the cause may contain the URL. asyncpg's errors contain the host and the
    reason only.
    """
    reason = f"{type(error).__name__}: {error}" if str(error) else "no response in time"
    return DatabaseUnavailable(f"{address.place}: {reason}")


def _replace_closed_connection(
    connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: object
) -> None:
    """Replace a connection that the server has closed while it was idle.

    asyncpg notices a closed socket by itself, so this needs no round trip, unlike a ping.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _translate(address: DatabaseAddress, context: ExceptionContext) -> DatabaseUnavailable | None:
    """Return the replacement for an error that the statement did not cause, or None.

    Terminate a connection that is lost or lacks a response, because a server that hangs cannot roll
    back.
    """
    error = context.original_exception
    if not isinstance(error, Exception):
        return None  # do not replace a cancellation
    if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        if context.connection:
            context.is_disconnect = True
            dbapi_connection = context.connection.connection.dbapi_connection
            if dbapi_connection is not None:
                dbapi_connection.driver_connection.terminate()
        return unavailable(address, error)
    # A migration has changed a column's type, and a prepared statement fails once. The driver has
    # already discarded all prepared statements.
    if isinstance(error.__cause__, asyncpg.InvalidCachedStatementError):
        return unavailable(address, error.__cause__)
    state = str(getattr(error, "sqlstate", None) or "")
    if context.is_disconnect or state.startswith(UNAVAILABLE_STATES):
        return DatabaseUnavailable(f"{address.place}: {type(error).__name__}, SQLSTATE {state}")
    return None
