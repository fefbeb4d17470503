import asyncio
import socket
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
import trustme
from sqlalchemy import text

from app.core.database_url import parse_database_url
from app.core.settings import ExplicitSettings
from app.db import revisions
from app.db.session import Database
from tests.conftest import SECRET, AppFactory, ClientFactory, settings_for
from tests.db.test_tls import tls_in_front
from tests.postgres import database_url


def test_repr_of_the_url_contains_no_secrets() -> None:
    assert "hunter2" not in repr(parse_database_url("postgresql://u:hunter2@host/db"))


async def test_pooled_connection_keeps_no_prepared_statements(test_database: str) -> None:
    settings = ExplicitSettings(
        environment="test", database_url=test_database, jwt_secret=SECRET, database_pooler=True
    )
    database = Database.from_settings(settings)
    try:
        assert database.reads is database.engine
        async with database.reads.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")
            found = await connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements")
            assert found.scalar_one() <= 1  # this statement
    finally:
        await database.close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_application_migrates_and_starts_with_any_form_of_the_url(
    test_database: str,
    make_app: AppFactory,
    make_client: ClientFactory,
    scheme: str,
) -> None:
    parts = urlsplit(test_database)
    options = (
        "application_name=shop&connect_timeout=3&target_session_attrs=read-write&"
        "channel_binding=prefer&sslmode=prefer&options=-c%20work_mem%3D5MB"
    )
    url = parts._replace(scheme=scheme, query=f"{parts.query}&{options}".strip("&")).geturl()
    await asyncio.to_thread(revisions.migrate, settings_for(url))

    async with make_app(database_url=url) as app:
        assert (await make_client(app).get("/health/ready")).status_code == 200
        async with app.state.database.reads.connect() as connection:
            shown = [
                (await connection.execute(text(f"SHOW {name}"))).scalar_one()
                for name in ("application_name", "work_mem")
            ]
    assert shown == ["shop", "5MB"]


def test_new_database_has_no_users() -> None:
    url = database_url("new")
    revisions.migrate(settings_for(url))

    async def count() -> int:
        connection = await asyncpg.connect(parse_database_url(url).dsn)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM users"))
        finally:
            await connection.close()

    assert asyncio.run(count()) == 0


@pytest.mark.parametrize(
    ("method", "path", "table", "column"),
    [
        ("GET", "/api/v1/users/me/sessions", "sessions", "expires_at"),
        ("POST", "/api/v1/auth/refresh", "sessions", "expires_at"),
        ("GET", "/api/v1/users/me", "users", "created_at"),
    ],
    ids=["any endpoint", "refresh", "authentication"],
)
async def test_column_type_change_causes_one_503_in_a_running_replica(
    signed_in: httpx.AsyncClient,
    db: asyncpg.Connection,
    method: str,
    path: str,
    table: str,
    column: str,
) -> None:
    change = f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {{}}"
    assert (await signed_in.request(method, path)).is_success
    await db.execute(change.format("timestamptz(3)"))
    try:
        first, second = [await signed_in.request(method, path) for _ in range(2)]
    finally:
        await db.execute(change.format("timestamptz"))
    assert first.status_code == 503
    assert "retry-after" in first.headers
    assert second.is_success


async def show(database: Database, name: str) -> object:
    """Return the value of a server setting on a connection of the pool."""
    async with database.reads.connect() as connection:
        return (await connection.execute(text(f"SHOW {name}"))).scalar_one()


@pytest.mark.parametrize(
    ("options", "pooler", "value"),
    [
        ("", False, "30s"),
        ("options=-c%20idle_in_transaction_session_timeout%3D7s", False, "7s"),
        ("", True, "0"),
    ],
    ids=["default", "set in the URL", "with a pooler"],
)
async def test_connections_have_an_idle_in_transaction_timeout(
    test_database: str, options: str, pooler: bool, value: str
) -> None:
    parts = urlsplit(test_database)
    url = parts._replace(query=f"{parts.query}&{options}".strip("&")).geturl()
    settings = ExplicitSettings(
        environment="test", database_url=url, jwt_secret=SECRET, database_pooler=pooler
    )
    database = Database.from_settings(settings)
    try:
        assert await show(database, "idle_in_transaction_session_timeout") == value
    finally:
        await database.close()


async def test_idle_in_transaction_timeout_of_the_database_takes_precedence(
    test_database: str, db: asyncpg.Connection
) -> None:
    name = await db.fetchval("SELECT current_database()")
    await db.execute(f'ALTER DATABASE "{name}" SET idle_in_transaction_session_timeout = 8000')
    database = Database.from_settings(settings_for(test_database))
    try:
        assert await show(database, "idle_in_transaction_session_timeout") == "8s"
    finally:
        await database.close()
        await db.execute(f'ALTER DATABASE "{name}" RESET idle_in_transaction_session_timeout')


async def test_connections_have_tcp_keepalive_enabled(test_database: str) -> None:
    async with tls_in_front(test_database, trustme.CA().issue_cert("localhost")) as url:
        database = Database.from_settings(settings_for(f"{url}?sslmode=require"))
        try:
            async with database.reads.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None
                sock = driver._transport.get_extra_info("socket")
                values = [
                    sock.getsockopt(*option)
                    for option in (
                        (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                    )
                ]
        finally:
            await database.close()
    assert values == [1, 30, 10, 3]


async def test_a_statement_that_is_cancelled_stays_cancelled(test_database: str) -> None:
    database = Database.from_settings(settings_for(test_database))

    async def sleep() -> None:
        async with database.reads.connect() as connection:
            started.set()
            await connection.execute(text("SELECT pg_sleep(60)"))

    started = asyncio.Event()
    task = asyncio.create_task(sleep())
    try:
        await started.wait()
        await asyncio.sleep(0)  # the statement is sent
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        await database.close()
