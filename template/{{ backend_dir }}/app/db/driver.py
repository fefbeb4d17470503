"""The driver itself, on a connection of SQLAlchemy's pool: for what every client asks all the time.

SQLAlchemy spends more on a statement than the driver and the round trip together. That is worth
leaving out for who is signed in, and for refreshing, and nowhere else.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.util import greenlet_spawn

from app.db.session import (
    CHANGED_TABLE,
    DRIVER,
    Database,
    DatabaseUnavailable,
    lost_connection,
)

DIALECT: Final = make_url(DRIVER).get_dialect()()


class Query:
    """A statement of at most one row, compiled once.

    columns: of an INSERT, those that are given.
    """

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        compiled: Any = statement.compile(dialect=DIALECT, column_keys=columns)
        self._sql: Final = str(compiled)
        self._names: Final[Sequence[str]] = compiled.positiontup or ()
        self._fixed: Final[dict[str, object]] = {
            name: bind.value for bind, name in compiled.bind_names.items() if not bind.required
        }

    async def fetch(self, driver: asyncpg.Connection, **values: object) -> Sequence[Any] | None:
        """Give the row, or None.

        values: of the parameters, as the driver takes them. Raises `KeyError` or `TypeError` for
        one that is missing or too many: neither may become a NULL, or get lost.
        """
        values = {**self._fixed, **values}
        if len(values) > len(self._names):
            raise TypeError(f"the statement takes {self._names}, not {list(values)}")
        row: Sequence[Any] | None = await driver.fetchrow(
            self._sql, *(values[name] for name in self._names)
        )
        return row


@asynccontextmanager
async def driver_connection(
    database: Database, *, transaction: bool
) -> AsyncIterator[asyncpg.Connection]:
    """Lend a connection of the driver's, and commit at the end where there is a transaction.

    Raises `DatabaseUnavailable`, and what SQLAlchemy raises. After anything but an answer of the
    server the connection is hung up: nobody knows what it is still waiting for.
    """
    held = await database.engine.raw_connection()
    driver = cast("asyncpg.Connection", held.driver_connection)
    try:
        if transaction:
            await driver.execute("BEGIN")
        yield driver
        if transaction:
            await driver.execute("COMMIT")
    except Exception as error:
        if lost := lost_connection(error, database.address):
            driver.terminate()
            raise lost from error
        if driver.is_in_transaction():
            await _roll_back(driver)
        if isinstance(error, asyncpg.InvalidCachedStatementError):
            raise DatabaseUnavailable(CHANGED_TABLE) from error
        if isinstance(error, asyncpg.PostgresError):
            raise DBAPIError(None, None, error) from error
        raise
    except BaseException:
        driver.terminate()
        raise
    finally:
        await greenlet_spawn(held.close)


async def _roll_back(driver: asyncpg.Connection) -> None:
    try:
        await driver.execute("ROLLBACK")
    except BaseException as error:  # also who cancels: the transaction would go on in the pool
        driver.terminate()
        if not isinstance(error, Exception):
            raise
