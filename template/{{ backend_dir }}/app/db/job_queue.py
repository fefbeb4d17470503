"""The tables of the job queue: PgQueuer's own, in a schema that Alembic does not see."""

from functools import partial
from typing import Final

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.settings import Settings
from app.db.session import create_migration_engine
from app.db.waiting import TRY_LOCK, WAIT_SECONDS, wait_for_lock

SCHEMA: Final = "pgqueuer"


class ConnectionDriver(AsyncpgDriver):
    """Runs PgQueuer's statements on a connection of SQLAlchemy, in the caller's transaction.

    SQLAlchemy begins a transaction with its first statement. Statements on the driver's own
    connection would not belong to it.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._of_sqlalchemy = connection

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Return the rows of a statement, whose parameters are `$1`, `$2` and so on."""
        result = await self._of_sqlalchemy.exec_driver_sql(query, args)
        return [dict(row) for row in result.mappings()]

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement without a result."""
        await self._of_sqlalchemy.exec_driver_sql(query, args)
        return ""


def query_builders() -> tuple[QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder]:
    """Return what builds the statements for the tables of this project."""
    settings = DBSettings(db_schema=SCHEMA)
    return (
        QueryBuilderEnvironment(settings),
        QueryQueueBuilder(settings),
        QuerySchedulerBuilder(settings),
    )


def queue_queries(connection: AsyncConnection) -> Queries:
    """Return PgQueuer's queries on a connection of SQLAlchemy."""
    return Queries(ConnectionDriver(connection), *query_builders())


async def upgrade_job_queue(settings: Settings, wait_seconds: float = WAIT_SECONDS) -> None:
    """Create the tables of the job queue, or bring them to the installed version of PgQueuer.

    wait_seconds: how long to wait for another process that migrates.

    Raise `MigrationLocked`.
    """
    engine = create_migration_engine(settings)
    try:
        await wait_for_lock(partial(_upgrade_alone, engine), wait_seconds)
    finally:
        await engine.dispose()


async def _upgrade_alone(engine: AsyncEngine) -> bool:
    """Upgrade the tables under a lock. Return whether the lock was free.

    One connection holds the lock, and another one runs the statements. Each statement has a
    transaction of its own, because Postgres cannot use a new value of an enum in the transaction
    that adds it. Without transactions, a pooler may prepare and run a statement on two connections.
    """
    async with engine.begin() as lock:
        if not await lock.scalar(TRY_LOCK):
            return False
        async with engine.begin() as connection:
            plan = await queue_queries(connection).plan_upgrade()
        for statement in plan.statements:
            async with engine.begin() as connection:
                await connection.exec_driver_sql(statement)
    return True
