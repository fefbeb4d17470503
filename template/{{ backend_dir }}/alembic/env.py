"""Runs migrations on the database of the settings, for `alembic` and `python -m app migrate`."""

import asyncio
from contextlib import aclosing
from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.types import UserDefinedType

from app import models
from app.core.settings import Settings
from app.core.startup import load_or_exit
from app.db.embedded import EmbeddedPostgresError
from app.db.local import use_local_database
from app.db.schema_check import explain, require_model_imports
from app.db.session import DatabaseUnavailable, create_migration_engine
from app.db.waiting import (
    TRY_LOCK,
    WAIT_SECONDS,
    MigrationLocked,
    connect_with_retries,
    wait_for_lock,
)

wait_seconds: float = context.config.attributes.get("wait_seconds", WAIT_SECONDS)


def import_type(kind: str, item: object, autogenerate: AutogenContext) -> Literal[False]:
    """Make a new migration import the module of a type from another package."""
    if kind == "type" and isinstance(item, UserDefinedType):
        autogenerate.imports.add(f"import {type(item).__module__}")
    return False  # render the type as usual


def run_migrations(connection: Connection) -> bool:
    """Migrate in one transaction, under a lock. Return whether the lock was free."""
    context.configure(
        connection=connection,
        target_metadata=models.Base.metadata,
        compare_server_default=True,
        render_item=import_type,
        process_revision_directives=lambda *_: require_model_imports(models),
    )
    with context.begin_transaction():
        if not connection.scalar(TRY_LOCK):
            return False
        context.run_migrations()
    return True


async def main(settings: Settings) -> None:
    """Connect to the migration database of the settings, and run the migrations."""
    engine = create_migration_engine(settings)

    async def attempt() -> bool:
        connection = await connect_with_retries(engine, settings.migration_database, wait_seconds)
        async with aclosing(connection):
            return await connection.run_sync(run_migrations)

    try:
        await wait_for_lock(attempt, wait_seconds)
    finally:
        await engine.dispose()


if context.is_offline_mode():
    raise CommandError("Migrations run against a database; --sql is not supported.")
try:
    settings = context.config.attributes.get("settings")
    if settings is None:  # run by `alembic`, not by `python -m app`
        use_local_database()
        settings = load_or_exit()
    asyncio.run(main(settings))
except CommandError as error:
    raise explain(error, context.script) from error.__cause__
except (EmbeddedPostgresError, DatabaseUnavailable, MigrationLocked) as error:
    raise CommandError(str(error)) from None
