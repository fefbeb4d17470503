"""Fixtures and helpers for all tests: an application, its clients, users and an empty database."""

import asyncio
import gc
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest
from aiosmtpd.smtp import SMTP
from alembic.util import CommandError
from fastapi import FastAPI

from app.api.state import AppState
from app.core.database_url import parse_database_url
from app.core.emails import normalize_email
from app.core.logging import configure_logging
from app.core.roles import Role
from app.core.settings import ExplicitSettings, Settings
from app.db import revisions
from app.db.schema_check import find_schema_mismatch
from app.db.session import Database
from app.jobs.job import JobContext
from app.main import create_app
from app.models.factories import make_user
from app.services import users
from app.worker.runner import run_waiting_jobs
from tests.mailbox import Mailbox
from tests.postgres import database_url

PASSWORD = "a long enough passphrase"
SECRET = secrets.token_urlsafe(48)
ORIGIN = "https://app.example.com"
HANG_SECONDS = 120
"""The maximum time that a test waits. It only ends a hang and does not measure performance."""

logging.getLogger("httpx").setLevel(logging.WARNING)  # one line per request would hide the others

AppFactory = Callable[..., AbstractAsyncContextManager[FastAPI]]
ClientFactory = Callable[..., httpx.AsyncClient]


def settings_for(url: str) -> ExplicitSettings:
    """Return settings for tests. They ignore the environment and a developer's `.env`."""
    return ExplicitSettings(environment="test", database_url=url, jwt_secret=SECRET)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Check the models once before workers start, because otherwise every test would fail."""
    if session.config.getoption("numprocesses", default=None) and (
        problem := migrate_and_compare(settings_for(database_url("models")))
    ):
        raise pytest.UsageError(problem)


def pytest_collection_finish() -> None:
    """Exclude all modules and tests from garbage collection, which would traverse them often."""
    gc.freeze()


def migrate_and_compare(settings: Settings) -> str | None:
    """Migrate a test database. Return a message if models and migrations do not match."""
    try:
        revisions.migrate(settings)
        return find_schema_mismatch(settings)
    except CommandError as error:
        return str(error)


@pytest.fixture(scope="session", autouse=True)
def configured_logging() -> None:
    """Configure logging as a server does, also for a test that creates no application."""
    configure_logging(settings_for("postgresql://127.0.0.1/x"))


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Restore the logging configuration. A command's handler writes to this test's output."""
    root, sql = logging.getLogger(), logging.getLogger("sqlalchemy.engine")
    handlers, level, sql_level = root.handlers[:], root.level, sql.level
    yield
    root.handlers, root.level = handlers, level
    sql.setLevel(sql_level)


@pytest.fixture(scope="session")
def test_database(worker_id: str) -> str:
    """Return the URL of a migrated database that only this worker uses."""
    url = database_url(worker_id)
    settings = settings_for(url)
    if worker_id != "master":
        revisions.migrate(settings)
    elif problem := migrate_and_compare(settings):  # there are no workers
        pytest.exit(problem, returncode=pytest.ExitCode.USAGE_ERROR)
    return url


@pytest.fixture(scope="session")
async def connection(test_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Return this worker's own connection to the database. Use `db` in tests."""
    connection = await asyncpg.connect(parse_database_url(test_database).dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def db(connection: asyncpg.Connection) -> asyncpg.Connection:
    """Return a connection to the emptied database, separate from the application's."""
    await connection.execute(
        "DELETE FROM users; DELETE FROM attempt_counts; DELETE FROM email_tokens; "
        "DELETE FROM audit_events; DELETE FROM pgqueuer.pgqueuer"
    )
    return connection


class SharedDatabase(Database):
    """A database whose connections stay open when an application closes it."""

    async def close(self) -> None:
        """Keep the connections for the next application."""


@pytest.fixture(scope="session")
async def shared_databases() -> AsyncIterator[dict[object, SharedDatabase]]:
    """Return the databases of this worker, by their settings.

    Applications with the same settings for the database share its connections, and the statements
    that SQLAlchemy has compiled. Both would otherwise take longer than most tests.
    """
    databases: dict[object, SharedDatabase] = {}
    yield databases
    for database in databases.values():
        await database.engine.dispose()


@pytest.fixture(scope="session")
def idle_apps() -> dict[Settings, FastAPI]:
    """Return the applications that no test uses now, by their settings. See `borrow`."""
    return {}


@contextmanager
def borrow(idle_apps: dict[Settings, FastAPI], settings: Settings) -> Iterator[FastAPI]:
    """Lend an application with a new state, and undo what the test changes in it.

    FastAPI builds its routes at the first request, which takes longer than most tests.
    """
    app = idle_apps.pop(settings, None) or create_app(settings)
    app.state = AppState.from_settings(settings)  # type: ignore[assignment]  # see `create_app`
    app.middleware_stack = None
    routes = list(app.router.routes)
    yield app
    if app.router.routes != routes:
        app.router.routes[:] = routes
        app.openapi_schema = None  # generating it again takes longer than most tests
    app.dependency_overrides.clear()
    idle_apps[settings] = app


@pytest.fixture
def make_app(
    test_database: str,
    db: asyncpg.Connection,
    shared_databases: dict[object, SharedDatabase],
    idle_apps: dict[Settings, FastAPI],
) -> AppFactory:
    """Return a function that takes settings and returns an application for `async with`."""

    @asynccontextmanager
    async def make(**values: Any) -> AsyncIterator[FastAPI]:
        settings = ExplicitSettings(
            **{
                "environment": "test",
                "database_url": test_database,
                "jwt_secret": SECRET,
                "cors_origins": ORIGIN,
                "database_timeout_seconds": HANG_SECONDS,
                "jobs_in_server": False,
                **values,
            }
        )
        key = tuple(item for item in settings if "database" in item[0])
        if key not in shared_databases:
            shared_databases[key] = SharedDatabase.from_settings(settings)
        with borrow(idle_apps, settings) as app:
            app.state.database = shared_databases[key]
            async with app.router.lifespan_context(app):
                yield app

    return make


@pytest.fixture
async def app(make_app: AppFactory) -> AsyncIterator[FastAPI]:
    """Return the application with settings for tests."""
    async with make_app() as app:
        yield app


@pytest.fixture(scope="session")
async def smtp_server() -> AsyncIterator[Mailbox]:
    """Return the handler of this worker's SMTP server. Use `mailbox` in tests."""
    handler = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, loop=loop), "127.0.0.1", 0)
    handler.url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield handler
    server.close()


@pytest.fixture
def mailbox(smtp_server: Mailbox) -> Mailbox:
    """Return the messages that an SMTP server receives."""
    smtp_server.clear()
    return smtp_server


@pytest.fixture
def make_mailing_app(make_app: AppFactory, mailbox: Mailbox) -> AppFactory:
    """Return a function like that of `make_app`, for an application that sends to `mailbox`."""
    return partial(make_app, smtp_url=mailbox.url, mail_from="no-reply@example.com")


@pytest.fixture
async def mailing_app(make_mailing_app: AppFactory) -> AsyncIterator[FastAPI]:
    """Return an application that sends to `mailbox`."""
    async with make_mailing_app() as app:
        yield app


@pytest.fixture
async def make_client() -> AsyncIterator[ClientFactory]:
    """Return a function that opens a client with its own cookie jar, like a separate browser."""
    clients = []

    def make(app: Any, **options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=options.pop("address", ("192.0.2.1", 50000)))
        client = httpx.AsyncClient(transport=transport, base_url="https://api.test", **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def client(app: FastAPI, make_client: ClientFactory) -> httpx.AsyncClient:
    """Return a client that is not signed in."""
    return make_client(app)


@pytest.fixture
async def ada(app: FastAPI) -> users.PublicUser:
    """Return a user, ada@example.com."""
    return await add_user(app, "ada@example.com")


@pytest.fixture
async def signed_in(client: httpx.AsyncClient, ada: users.PublicUser) -> httpx.AsyncClient:
    """Return a client that is signed in as Ada."""
    response = await log_in(client, ada.email)
    assert response.status_code == 200
    return client


@pytest.fixture
async def admin(app: FastAPI, make_client: ClientFactory) -> httpx.AsyncClient:
    """Return a client that is signed in as an administrator, admin@example.com."""
    client = make_client(app)
    user = await add_user(app, "admin@example.com", role=Role.ADMIN)
    assert (await log_in(client, user.email)).status_code == 200
    return client


async def add_user(
    app: FastAPI, email: str, password: str = PASSWORD, role: Role = Role.USER
) -> users.PublicUser:
    """Add a user, whose address is not verified."""
    password_hash = await app.state.hasher.hash(password)
    user = make_user(password_hash, email=normalize_email(email), role=role)
    async with app.state.database.sessions() as db, db.begin():
        db.add(user)
    return users.public_user(user)


async def log_in(
    client: httpx.AsyncClient, email: str, password: str = PASSWORD, **options: Any
) -> httpx.Response:
    """Sign in with the login form."""
    form = {"username": email, "password": password}
    return await client.post("/api/v1/auth/login", data=form, **options)


def job_context(app: FastAPI) -> JobContext:
    """Return what the jobs of an application use."""
    return JobContext(app.state.settings, app.state.database)


async def run_jobs(app: FastAPI) -> None:
    """Run the jobs in the queue, until none is left."""
    await run_waiting_jobs(job_context(app))


def cookie(client: httpx.AsyncClient, kind: str) -> str:
    """Return the value of the `access` or the `refresh` cookie, regardless of its prefix."""
    return next(c.value or "" for c in client.cookies.jar if c.name.endswith(kind))


def set_cookie(client: httpx.AsyncClient, kind: str, value: str) -> None:
    """Replace the value of a cookie of the client."""
    name = next(c.name for c in client.cookies.jar if c.name.endswith(kind))
    client.cookies.set(name, value, domain="api.test", path="/")


async def drop_connections(db: asyncpg.Connection) -> None:
    """Close all other connections to the database, and return when their clients notice it."""
    await db.execute(
        "SELECT pg_terminate_backend(pid, $1) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        HANG_SECONDS * 1000,
    )
    # All sockets are closed now. The event loop notices it before it ends a sleep.
    await asyncio.sleep(0.01)


async def raise_shared_count(db: asyncpg.Connection, limits: int, attempts: int) -> None:
    """Set the counts of the limits that two attempts share, without making so many attempts.

    The two attempts differ in everything else, so that no other limit has counted both.
    limits: how many limits they share.
    """
    changed = await db.execute(
        "UPDATE attempt_counts SET attempts = $1 "
        "WHERE attempts = 2 AND 2 = (SELECT max(attempts) FROM attempt_counts)",
        attempts,
    )
    assert changed == f"UPDATE {limits}"


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(HANG_SECONDS):
        while not await condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def advance_time(db: asyncpg.Connection, seconds: float) -> None:
    """Let time pass for sessions, tokens of all kinds and counted attempts, without waiting."""
    shift = f"- make_interval(secs => {float(seconds)})"
    await db.execute(
        "UPDATE refresh_tokens SET created_at = created_at %s, expires_at = expires_at %s, "
        "revoked_at = revoked_at %s".replace("%s", shift)
    )
    await db.execute(
        "UPDATE sessions SET created_at = created_at %s, last_used_at = last_used_at %s, "
        "expires_at = expires_at %s, revoked_at = revoked_at %s".replace("%s", shift)
    )
    await db.execute("UPDATE email_tokens SET expires_at = expires_at %s".replace("%s", shift))
    await db.execute(
        "UPDATE personal_access_tokens SET created_at = created_at %s, expires_at = expires_at %s, "
        "last_used_at = last_used_at %s".replace("%s", shift)
    )
    await db.execute(
        "UPDATE attempt_counts SET window_ends_at = window_ends_at %s".replace("%s", shift)
    )
