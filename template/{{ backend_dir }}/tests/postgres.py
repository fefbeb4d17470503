"""The test database, which is never a database with other data."""

import asyncio
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from app.core.database_url import parse_database_url
from app.core.settings import PROJECT_SLUG
from app.db import embedded

DEFAULT_NAME = f"{PROJECT_SLUG.replace('-', '_')}_test"
FOLDER = Path(__file__).parents[1] / ".postgres"


def database_url(worker: str) -> str:
    """Create an empty database for one worker of pytest-xdist, and return its URL.

    It is on the server of `TEST_DATABASE_URL`, or else on the embedded one.
    """
    url = os.environ.get("TEST_DATABASE_URL") or embedded.start(DEFAULT_NAME, FOLDER)
    refuse_foreign_database(url)
    own = _with_name(url, f"{urlsplit(url).path.strip('/')}_{worker}")
    asyncio.run(_create(_with_name(url, "postgres"), urlsplit(own).path.strip("/")))
    return own


@contextmanager
def folder_for_postgres() -> Iterator[Path]:
    """Yield a new folder that Postgres can enter. As root, Postgres runs as another user."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # pytest's own folders are closed to other users
        yield Path(folder)


def refuse_foreign_database(url: str) -> None:
    """Stop the test run if the name of the database does not show that it is for tests."""
    name = urlsplit(url).path.strip("/")
    if not re.search(r"(^|[_-])test($|[_-])", name):
        raise SystemExit(
            f"TEST_DATABASE_URL names the database {name!r}. The tests empty their database, so "
            f"its name must say that it is one for tests, such as {DEFAULT_NAME!r}."
        )


def _with_name(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def _create(maintenance_url: str, name: str) -> None:
    connection = await asyncpg.connect(parse_database_url(maintenance_url).dsn)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}"')
        # The next run creates everything again that a crash may lose.
        await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    finally:
        await connection.close()
