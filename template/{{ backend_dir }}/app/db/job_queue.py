"""The tables of the job queue: PgQueuer's own, in a schema that Alembic does not see."""

import asyncio
import time
from typing import Final

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.settings import Settings
from app.db.session import create_migration_engine
from app.db.waiting import PAUSE_SECONDS, WAIT_SECONDS, MigrationLocked

SCHEMA: Final = "pgqueuer"
# An arbitrary number, the same for every replica, and another one than `MIGRATION_LOCK`: processes
# that wait for a migration keep their connections.
UPGRADE_LOCK: Final = int.from_bytes(b"pgqueuer")
TRY_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(:lock)")


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

    wait_seconds: how long to wait for another process that does the same. Meanwhile, this process
        holds no connection: behind a pooler with few of them, the other one needs two.

    Raise `MigrationLocked`.
    """
    engine = create_migration_engine(settings)
    deadline = time.monotonic() + wait_seconds
    try:
        while not await _upgrade_alone(engine):
            if time.monotonic() >= deadline:
                raise MigrationLocked(wait_seconds)
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        await engine.dispose()


async def _upgrade_alone(engine: AsyncEngine) -> bool:
    """Upgrade the tables under a lock. Return whether the lock was free.

    One connection holds the lock, and another one runs the statements. Each statement is a
    transaction of its own, because Postgres cannot use a new value of an enum in the transaction
    that adds it.
    """
    async with engine.begin() as lock:
        if not await lock.scalar(TRY_LOCK, {"lock": UPGRADE_LOCK}):
            return False
        autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with autocommit.connect() as connection:
            plan = await queue_queries(connection).plan_upgrade()
            for statement in plan.statements:
                await connection.exec_driver_sql(statement)
    return True
