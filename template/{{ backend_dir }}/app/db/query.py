"""The short way to a row, for what every signed-in call asks."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy import Select, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import greenlet_spawn

from app.db.session import DRIVER, TIMED_OUT, Database, DatabaseUnavailable


class Query:
    """A SELECT of at most one row, compiled once, that runs on the driver itself.

    SQLAlchemy spends more on such a statement than the driver and the round trip together: worth
    leaving out where every request pays for it, and nowhere else. Errors are as from SQLAlchemy.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        compiled = statement.compile(dialect=make_url(DRIVER).get_dialect()())
        self._statement: Final = statement
        self._sql: Final = str(compiled)
        self._names: Final[Sequence[str]] = compiled.positiontup or ()

    async def fetch(self, database: Database, **values: object) -> Sequence[Any] | None:
        """Give the row, or None. values: of the statement's parameters, as the driver takes them.

        Raises `DatabaseUnavailable`, and what SQLAlchemy raises.
        """
        if database.pooled:  # whose statements need a transaction around them
            async with database.reads.connect() as connection:
                return (await connection.execute(self._statement, values)).one_or_none()
        held = await database.engine.raw_connection()
        driver: Any = held.driver_connection
        try:
            row: Sequence[Any] | None = await driver.fetchrow(
                self._sql, *(values[name] for name in self._names)
            )
        except asyncpg.PostgresError as error:
            raise DBAPIError(self._sql, None, error, hide_parameters=True) from error
        except BaseException as error:
            driver.terminate()  # nobody knows what it is still waiting for
            if isinstance(error, TimeoutError):
                raise DatabaseUnavailable(TIMED_OUT) from None
            if isinstance(error, asyncpg.InterfaceError | OSError):
                raise DatabaseUnavailable(f"{type(error).__name__}: {error}") from error
            raise
        finally:
            await greenlet_spawn(held.close)
        return row
