"""The commands `migrate` and `purge`, and functions for commands that use the database."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.settings import Settings
from app.core.startup import ConfigurationError, load_or_exit
from app.db import revisions
from app.db.local import read_variable, use_local_database
from app.db.schema_check import find_schema_mismatch
from app.db.session import Database
from app.services import purging


def prepare() -> Settings:
    """Return the settings. On a developer's machine, use the same database as `dev`."""
    use_local_database()
    return load_or_exit()


def prepare_locally(command: str, *environments: str) -> Settings:
    """Return the settings like `prepare`, for a command that runs only in some environments.

    Raise `ConfigurationError` in all others.
    """

    def check(environment: str) -> None:
        if environment not in environments:
            raise ConfigurationError(
                f"ENVIRONMENT is {environment}, and {command} is for a developer's machine, "
                f"where ENVIRONMENT is {' or '.join(environments)}"
            )

    if environment := read_variable("ENVIRONMENT"):
        check(environment)  # before anything is started
    settings = prepare()
    check(settings.environment)  # if it is not set, it is production
    return settings


def run(settings: Settings, work: Callable[[AsyncSession], Awaitable[None]]) -> None:
    """Run a function with a database session."""

    async def connect_and_work() -> None:
        database = Database.from_settings(settings)
        try:
            async with database.sessions() as db:
                await work(db)
        finally:
            await database.close()

    asyncio.run(connect_and_work())


def migrate() -> None:
    """Migrate the database to this code's schema. Many replicas may do so at the same time."""
    settings = prepare()
    revisions.migrate(settings)
    warn_of_disagreement(settings)


def warn_of_disagreement(settings: Settings) -> None:
    """On a developer's machine, print how models, migrations and database differ."""
    if settings.environment == "local" and (problem := find_schema_mismatch(settings)):
        print(problem, file=sys.stderr)


def purge() -> None:
    """Delete expired and revoked sessions, and other old rows. The nightly job does the same."""

    async def work(db: AsyncSession) -> None:
        purged = await purging.purge(db, settings)
        print(
            f"Deleted {purged.sessions} sessions, {purged.tokens} refresh tokens, "
            f"{purged.attempt_counts} rate-limit rows, {purged.email_tokens} mailed links, "
            f"{purged.personal_tokens} personal access tokens, "
            f"{purged.audit_events} audit events and {purged.job_log} entries of the job log."
        )

    settings = prepare()
    run(settings, work)
