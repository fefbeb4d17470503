"""Schema revisions: which ones this code knows, which one the database has, and how to migrate."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import structlog
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.settings import Settings
from app.db.job_queue import SCHEMA, upgrade_job_queue
from app.db.waiting import WAIT_SECONDS, MigrationLocked

log = structlog.stdlib.get_logger(__name__)

ALEMBIC_INI: Final = Path(__file__).parents[2] / "alembic.ini"
UNDEFINED_TABLE: Final = "42P01"  # PostgreSQL, appendix A
FOUND: Final = text(
    f"SELECT version_num, to_regclass('{SCHEMA}.pgqueuer') IS NOT NULL AS has_queue "  # noqa: S608
    "FROM alembic_version"
)


@dataclass(frozen=True)
class Revisions:
    """The revisions in `alembic/versions`: all of them, and the heads."""

    known: frozenset[str]
    heads: frozenset[str]

    @classmethod
    def load(cls) -> Self:
        """Read the folder. Do this once, at startup."""
        scripts = ScriptDirectory.from_config(alembic_config())
        return cls(
            frozenset(script.revision for script in scripts.walk_revisions()),
            frozenset(scripts.get_heads()),
        )


async def is_up_to_date(reads: AsyncEngine, revisions: Revisions) -> bool:
    """Return whether the database is not behind this code.

    A revision that this code does not know is newer: a release migrates the database before it
    starts new replicas, and the old ones stay in service meanwhile.
    """
    try:
        async with reads.connect() as connection:
            rows = (await connection.execute(FOUND)).all()
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) == UNDEFINED_TABLE:
            return False
        raise
    found = {row.version_num for row in rows}
    is_behind = not found.isdisjoint(revisions.known - revisions.heads)
    return bool(rows) and not is_behind and all(row.has_queue for row in rows)


def alembic_config(settings: Settings | None = None) -> Config:
    """Return Alembic's configuration, for the database of these settings and no other."""
    config = Config(ALEMBIC_INI, attributes={"settings": settings})
    # This process has found the project already. Alembic would lengthen `sys.path` at each call.
    config.set_main_option("prepend_sys_path", "")
    return config


def migrate(settings: Settings, wait_seconds: float = WAIT_SECONDS) -> None:
    """Migrate the database to this code's head, one process at a time; see `alembic/env.py`.

    Then create or upgrade the tables of the job queue.

    wait_seconds: how long to wait for an unavailable database, and for another migration.

    If the database has a revision that this code does not know, it is newer, and stays unchanged.
    This happens in a rollback, because the platform also runs the old release's `migrate`. On a
    developer's machine, the revision comes from another branch, and `find_schema_mismatch` reports
    it.
    """
    config = alembic_config(settings)
    config.attributes["wait_seconds"] = wait_seconds
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        if not isinstance(error.__cause__, ResolutionError):
            raise
        if settings.environment != "local":
            log.warning("database_is_newer", revision=error.__cause__.argument)
    try:
        asyncio.run(upgrade_job_queue(settings, wait_seconds))
    except MigrationLocked as error:
        raise CommandError(str(error)) from None
