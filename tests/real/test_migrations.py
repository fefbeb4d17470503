"""Concurrent migrations, and migrations that are newer than the running code."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from scripts.projects import project_environment, python_of
from tests.support.client import Browser
from tests.support.load import Call, load
from tests.support.middlemen import pgbouncer
from tests.support.postgres import Postgres, folder_for_other_user
from tests.support.production import CREDENTIALS, LOGIN, ME, NUMBERS, REFRESH, Site
from tests.support.servers import Server, started, wait_until

PROCESSES = 10
MIGRATE_SECONDS = 300

AHEAD = '''
"""A revision that the replicas don't know."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Change a table that the replicas read."""
    {change}
'''


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[str]:
    """Return the name of an empty database."""
    name = f"empty_{next(NUMBERS)}"
    postgres.create_database(name)
    yield name
    postgres.query(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def address(postgres: Postgres, database: str, way: str) -> Iterator[dict[str, str]]:
    """Yield the settings to connect to a database directly or through PgBouncer."""
    if way == "directly":
        yield {"DATABASE_URL": postgres.url(database)}
        return
    with folder_for_other_user() as folder, pgbouncer(postgres, folder, size=3) as port:
        url = f"postgresql://postgres@127.0.0.1:{port}/{database}"
        yield {"DATABASE_URL": url, "DATABASE_POOLER": "true"}


def migrate(project: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `migrate`. Raise `subprocess.TimeoutExpired` if it takes too long."""
    command: list[str | Path] = [python_of(project), "-m", "app", "migrate"]
    return subprocess.run(
        command,
        cwd=project,
        env=environment,
        timeout=MIGRATE_SECONDS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("way", ["directly", "through pgbouncer"])
def test_one_of_ten_concurrent_migrations_runs_and_all_succeed(
    project: Path, postgres: Postgres, settings: dict[str, str], empty: str, way: str
) -> None:
    with address(postgres, empty, way) as url:
        environment = project_environment() | settings | url
        with ThreadPoolExecutor(PROCESSES) as threads:
            calls = [threads.submit(migrate, project, environment) for _ in range(PROCESSES)]
        results = [call.result() for call in calls]
        outputs = [result.stdout for result in results]

        assert [result.returncode for result in results] == [0] * PROCESSES, outputs
        # Alembic logs which revisions it runs.
        assert sum("0001" in output for output in outputs) == 1, outputs
        assert postgres.query("SELECT version_num FROM alembic_version", empty) == "0001"
        # This query comes before the pooler stops, because the pooler keeps its connections.
        assert postgres.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"


@pytest.mark.parametrize("way", ["directly", "through pgbouncer"])
def test_migrate_waits_for_a_database_that_starts_late(
    project: Path,
    postgres: Postgres,
    settings: dict[str, str],
    empty: str,
    way: str,
    tmp_path: Path,
) -> None:
    command: list[str | Path] = [python_of(project), "-m", "app", "migrate"]
    with address(postgres, empty, way) as url, ExitStack() as stack:
        environment = project_environment() | settings | url | {"PORT": "0"}
        with postgres.stopped(signal.SIGINT):
            migration = stack.enter_context(
                started(command, project, environment, tmp_path / "migrate.log")
            )
            wait_until(
                lambda: "waiting_for_database" in migration.output(),
                migration.output,
                MIGRATE_SECONDS,
            )

        assert migration.process.wait(MIGRATE_SECONDS) == 0, migration.output()
        assert postgres.query("SELECT version_num FROM alembic_version", empty) == "0001"


@pytest.mark.parametrize(
    ("change", "statuses"),
    [
        ('op.add_column("users", sa.Column("nickname", sa.Text()))', {200, 204}),
        # Statements that were prepared for the old type fail once.
        ('op.alter_column("users", "email", type_=sa.String(320))', {200, 204, 503}),
    ],
    ids=["a column added", "a type changed"],
)
def test_old_replicas_keep_serving_after_a_newer_release_migrates(
    site: Site, replicas: list[Server], tmp_path: Path, change: str, statuses: set[int]
) -> None:
    release = tmp_path / "release"
    shutil.copytree(site.project, release, ignore=shutil.ignore_patterns(".*"))
    revision = release / "alembic" / "versions" / "0002_ahead.py"
    revision.write_text(AHEAD.format(change=change), encoding="utf-8")
    # A login reads the column with SQLAlchemy, which does not prepare statements again by itself.
    calls = [Call("GET", ME), Call("POST", REFRESH), Call("POST", LOGIN, CREDENTIALS)]
    callers = [(site.sign_in(server), call) for server in replicas for call in calls]
    probes = [(Browser(server.port), Call("GET", "/health/ready")) for server in replicas]
    with load(*callers, *probes) as recorded:
        recorded.wait_for(20, 200)
        site.migrate(release)
        migrated = time.monotonic()
        recorded.wait_for(60, 200, since=migrated)
        recorded.wait_for(10, 204, since=migrated)
        recorded.wait_for(6, 200, since=migrated, path=LOGIN)
    assert site.query("SELECT version_num FROM alembic_version") == "0002"
    assert set(recorded.counts()) <= statuses, recorded.counts()
    assert recorded.counts()[503] < 10
    assert {it.status for it in recorded.results if it.call == probes[0][1]} == {200}
    for server in replicas:
        assert site.sign_in(server).get(ME).status == 200
