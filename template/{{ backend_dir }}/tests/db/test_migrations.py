import asyncio

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from app.db.revisions import Revisions, alembic_config, migrate
from tests.conftest import settings_for
from tests.postgres import database_url


@pytest.fixture
def alembic(worker_id: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return the configuration of Alembic for an empty database, despite the environment."""
    monkeypatch.setenv("MIGRATION_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    return alembic_config(settings_for(database_url(f"{worker_id}_migrations")))


def test_migrations_match_the_models_and_can_be_reverted(alembic: Config) -> None:
    command.upgrade(alembic, "head")
    command.check(alembic)
    command.downgrade(alembic, "base")
    command.upgrade(alembic, "head")
    command.check(alembic)


def test_there_is_one_head() -> None:
    assert len(Revisions.load().heads) == 1


def test_migrate_does_not_change_a_newer_database(
    alembic: Config, caplog: pytest.LogCaptureFixture
) -> None:
    settings = alembic.attributes["settings"]

    async def fetch(sql: str) -> object:
        connection = await asyncpg.connect(settings.database.dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    migrate(settings)
    asyncio.run(fetch("UPDATE alembic_version SET version_num = 'newer'"))
    migrate(settings)
    assert "database_is_newer" in caplog.text
    assert asyncio.run(fetch("SELECT version_num FROM alembic_version")) == "newer"


def test_sql_script_mode_is_rejected(alembic: Config) -> None:
    with pytest.raises(CommandError, match="--sql"):
        command.upgrade(alembic, "head", sql=True)
