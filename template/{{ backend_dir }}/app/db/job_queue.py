"""The tables of the job queue: PgQueuer's own, in a schema that Alembic does not see."""

from typing import Final

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.settings import Settings
from app.db.session import create_migration_engine
from app.db.waiting import WAIT_SECONDS, lock_migrations

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

    The lock of migrations is held meanwhile, by another connection: each statement is a transaction
    of its own, because Postgres cannot use a new value of an enum in the transaction that adds it.
    """
    engine = create_migration_engine(settings)
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    try:
        async with engine.begin() as lock, autocommit.connect() as connection:
            await lock.run_sync(lock_migrations, wait_seconds)
            plan = await queue_queries(connection).plan_upgrade()
            for statement in plan.statements:
                await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()
