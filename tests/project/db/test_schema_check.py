"""A mismatch between models, migrations and database is reported in one line with a remedy."""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Column, Integer, Table

from app.cli import main
from app.db import revisions
from app.db.base import Base
from app.db.schema_check import BEHIND, find_schema_mismatch
from tests.conftest import SECRET, migrate_and_compare, settings_for
from tests.postgres import database_url
from tests.processes import ROOT, START_SECONDS, process

NEWER = "UPDATE alembic_version SET version_num = 'of_another_branch'"
MIGRATION = """revision = "{name}"
down_revision = "{parent}"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
"""
MODEL = """
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class {name}(Base):
    __tablename__ = "{name}"

    id: Mapped[int] = mapped_column(primary_key=True)
"""


@pytest.fixture
def url(worker_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return the URL of an empty database, and set the environment of a developer for it."""
    url = database_url(f"{worker_id}_agreement")
    monkeypatch.chdir(tmp_path)
    for name, value in {"ENVIRONMENT": "local", "DATABASE_URL": url, "JWT_SECRET": SECRET}.items():
        monkeypatch.setenv(name, value)
    return url


@pytest.fixture
def new_model() -> Iterator[None]:
    """Add a table and a column to the models without a migration."""
    table = Table("shipments", Base.metadata, Column("id", Integer, primary_key=True))
    users: Table = Base.metadata.tables["users"]
    users.append_column(column := Column("nickname", Integer))
    yield
    users._columns.remove(column)
    Base.metadata.remove(table)


@pytest.fixture
def two_heads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use migrations as after the merge of two branches that each added a migration."""
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    shutil.copytree(ROOT / "alembic", tmp_path / "alembic")
    (parent,) = revisions.Revisions.load().heads
    for name in ("one", "two"):
        text = MIGRATION.format(name=name, parent=parent)
        (tmp_path / f"alembic/versions/{name}.py").write_text(text)
    monkeypatch.setattr(revisions, "ALEMBIC_INI", tmp_path / "alembic.ini")
    monkeypatch.setattr(sys, "path", sys.path[:])  # Alembic adds a folder to it


def execute(url: str, sql: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    asyncio.run(run())


def test_matching_schema_is_not_reported(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert migrate_and_compare(settings_for(url)) is None
    assert main(["migrate"]) == 0
    assert "agree" not in capsys.readouterr().err
    assert main(["doctor"]) == 0
    assert "ok     migrations: up to date, and the models agree" in capsys.readouterr().out


@pytest.mark.usefixtures("new_model")
def test_model_without_a_migration_is_reported_with_the_command(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = migrate_and_compare(settings_for(url))

    assert problem is not None
    assert "(add_column users.nickname, add_table shipments)" in problem
    assert 'make migration m="' in problem
    assert main(["migrate"]) == 0
    assert f"{problem}\n" in capsys.readouterr().err
    assert main(["doctor"]) == 1
    assert f"wrong  migrations: {problem}\n" in capsys.readouterr().out


@pytest.mark.usefixtures("two_heads")
def test_two_heads_are_reported_with_the_command_that_merges_them(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = migrate_and_compare(settings_for(url))

    assert problem == (
        "There are 2 newest migrations (one, two): "
        'join them with python -m alembic merge heads -m "merge".'
    )
    assert main(["migrate"]) == 1
    assert f"{problem}\n" in capsys.readouterr().err
    assert main(["doctor"]) == 1
    assert f"wrong  migrations: {problem}\n" in capsys.readouterr().out


def test_database_of_another_branch_is_reported_with_a_remedy(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    revisions.migrate(settings_for(url))
    execute(url, NEWER)

    problem = find_schema_mismatch(settings_for(url))

    assert problem is not None
    assert "revision of_another_branch, which this branch does not know" in problem
    assert "python -m app reset" in problem
    assert main(["migrate"]) == 0
    assert capsys.readouterr().err.count("of_another_branch") == 1
    assert main(["doctor"]) == 1
    assert f"wrong  migrations: {problem}\n" in capsys.readouterr().out


def test_database_that_is_behind_is_reported_with_the_command(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_schema_mismatch(settings_for(url)) == BEHIND
    assert main(["doctor"]) == 1
    assert f"wrong  migrations: {BEHIND}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_test_run_stops_with_one_line_before_its_workers_start(
    test_database: str, tmp_path: Path
) -> None:
    for name in ("app", "alembic", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("alembic.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    models = tmp_path / "app/models"
    (models / "billing").mkdir()
    (models / "billing/__init__.py").write_text("from app.models.billing import invoice as _\n")
    (models / "billing/invoice.py").write_text(MODEL.format(name="Invoice"))
    (models / "shipment.py").write_text(MODEL.format(name="Shipment"))
    package = models / "__init__.py"
    package.write_text(f"import app.models.billing as _\n{package.read_text()}")

    assert run_tests(test_database, tmp_path) == (
        "app/models/shipment.py defines a model that app/models/__init__.py does not import, "
        "so no migration sees it: import it there."
    )

    package.write_text(f"import app.models.shipment as _\n{package.read_text()}")
    assert "changes without a migration (add_table Invoice, add_table Shipment)" in run_tests(
        test_database, tmp_path
    )


def run_tests(url: str, project: Path) -> str:
    """Run the tests of a copy of this project, and return the line that they print."""
    arguments = ["pytest", "--numprocesses", "1", "--no-cov", "-W", "ignore:Coverage disabled"]
    settings = {"TEST_DATABASE_URL": url}
    with process(*arguments, settings=settings, cwd=project) as child:
        output, _ = child.communicate(timeout=3 * START_SECONDS)

    assert child.returncode == pytest.ExitCode.USAGE_ERROR, output
    (line,) = output.strip().splitlines()
    return line.removeprefix("ERROR: ")
