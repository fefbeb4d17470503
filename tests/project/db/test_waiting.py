"""`migrate` on a platform that has not started all services yet."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
import trustme
from alembic.util import CommandError

from app.cli import main
from app.core.settings import ExplicitSettings
from app.db.revisions import migrate
from app.db.waiting import MIGRATION_LOCK
from tests.conftest import SECRET, settings_for
from tests.db.test_tls import forward, tls_in_front
from tests.processes import free_port

# This only ends a test that hangs.
PATIENCE_SECONDS = 30
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(port: int, handler: Handler) -> AsyncIterator[None]:
    """Handle connections to a port of this machine."""
    async with await asyncio.start_server(handler, "127.0.0.1", port):
        yield


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)
    writer.close()


def reject(sqlstate: str) -> Handler:
    """Respond like a server that rejects a connection (PostgreSQL documentation, 54.7)."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        fields = f"SFATAL\0VFATAL\0C{sqlstate}\0Mthe reason of {sqlstate}\0\0".encode()
        writer.write(b"E" + struct.pack("!i", len(fields) + 4) + fields)
        writer.close()

    return handler


def pass_on(url: str) -> Handler:
    """Forward connections to the Postgres of the tests."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forward(url, reader, writer)

    return handler


def settings_on(port: int, test_database: str) -> ExplicitSettings:
    """Return settings with which migrations connect to a port of this machine."""
    parts = urlsplit(test_database)
    return ExplicitSettings(
        environment="test",
        jwt_secret=SECRET,
        database_url="postgresql://localhost/none",
        migration_database_url=f"postgresql://postgres:hunter2@127.0.0.1:{port}{parts.path}"
        "?sslmode=disable",
        database_timeout_seconds=0.3,
    )


async def wait_for_lines(caplog: pytest.LogCaptureFixture, event: str, count: int) -> None:
    for _ in range(PATIENCE_SECONDS * 50):
        if caplog.text.count(event) >= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{event} was not logged {count} times: {caplog.text}")


async def test_migrate_waits_for_a_database_that_is_not_available_yet(
    test_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    settings = settings_on(port, test_database)
    migration = asyncio.create_task(asyncio.to_thread(migrate, settings, PATIENCE_SECONDS))
    await wait_for_lines(caplog, "ConnectionRefusedError", 1)
    for handler, reason in (
        (say_nothing, "no response in time"),
        (reject("57P03"), "the reason of 57P03"),
        (reject("3D000"), "the reason of 3D000"),
    ):
        async with listening(port, handler):
            await wait_for_lines(caplog, reason, 1)
    async with listening(port, pass_on(test_database)):
        await migration

    assert caplog.text.count("waiting_for_database") >= 4
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1:1", "ConnectionRefusedError"), ("nowhere.invalid", "gaierror")],
)
async def test_migrate_gives_up_after_a_while(
    caplog: pytest.LogCaptureFixture, host: str, reason: str
) -> None:
    settings = settings_for(f"postgresql://postgres:hunter2@{host}/none")
    with pytest.raises(CommandError) as failed:
        await asyncio.to_thread(migrate, settings, 0.5)

    message = str(failed.value)
    assert message.startswith(f"DATABASE_URL ({host}): ")
    assert reason in message
    assert "\n" not in message
    assert "hunter2" not in message + caplog.text
    assert "waiting_for_database" in caplog.text


@pytest.mark.parametrize("sqlstate", ["28P01", "28000", "42501"])
async def test_migrate_does_not_wait_after_a_permanent_error(
    test_database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sqlstate: str,
) -> None:
    port = free_port()
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:hunter2@127.0.0.1:{port}/x?sslmode=disable")
    async with listening(port, reject(sqlstate)):
        assert await asyncio.to_thread(main, ["migrate"]) == 1

    error = capsys.readouterr().err
    assert error.startswith(f"DATABASE_URL (127.0.0.1:{port}): ")
    assert error.endswith(f"the reason of {sqlstate}\n")
    assert "hunter2" not in error


async def test_migrate_does_not_wait_after_an_untrusted_certificate(
    test_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_in_front(test_database, trustme.CA().issue_cert("localhost")) as url:
        with pytest.raises(CommandError, match="SSLCertVerificationError"):
            await asyncio.to_thread(
                migrate, settings_for(f"{url}?sslmode=verify-full"), PATIENCE_SECONDS
            )
    assert "waiting_for_database" not in caplog.text


@pytest.fixture
def holding_lock(db: asyncpg.Connection) -> Callable[[], AbstractAsyncContextManager[None]]:
    """Return a function that holds the migration lock, like another process that migrates."""

    @asynccontextmanager
    async def hold() -> AsyncIterator[None]:
        async with db.transaction():
            await db.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            yield

    return hold


async def test_migrate_waits_for_another_migration(
    test_database: str,
    holding_lock: Callable[[], AbstractAsyncContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = settings_for(test_database)
    async with holding_lock():
        migration = asyncio.create_task(asyncio.to_thread(migrate, settings, PATIENCE_SECONDS))
        await wait_for_lines(caplog, "waiting_for_another_migration", 1)
        assert not migration.done()
    await migration


async def test_migrate_gives_up_on_a_migration_that_does_not_end(
    test_database: str, holding_lock: Callable[[], AbstractAsyncContextManager[None]]
) -> None:
    async with holding_lock():
        with pytest.raises(CommandError, match="Another process has been migrating"):
            await asyncio.to_thread(migrate, settings_for(test_database), 0.5)
