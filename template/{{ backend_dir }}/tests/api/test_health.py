import time

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.api.health import READY_WITHIN_SECONDS
from tests.conftest import HANG_SECONDS, AppFactory, ClientFactory


async def test_health_returns_ok(client: httpx.AsyncClient) -> None:
    response = await client.get("/health")

    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_health_endpoints_support_head(
    app: FastAPI, client: httpx.AsyncClient, path: str
) -> None:
    assert (await client.head(path)).status_code == 200
    app.state.draining = True
    assert (await client.head(path)).status_code == (200 if path == "/health" else 503)


async def test_ready_when_the_database_is_up_to_date(client: httpx.AsyncClient) -> None:
    response = await client.get("/health/ready")

    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ("UPDATE alembic_version SET version_num = 'from_the_future'", 200),
        ("DELETE FROM alembic_version", 503),
        ("ALTER TABLE alembic_version RENAME TO was_alembic_version", 503),
    ],
    ids=["newer", "none", "no table"],
)
async def test_ready_unless_the_database_is_behind(
    client: httpx.AsyncClient, db: asyncpg.Connection, change: str, status: int
) -> None:
    version = await db.fetchval("SELECT version_num FROM alembic_version")
    await db.execute(change)
    try:
        assert (await client.get("/health/ready")).status_code == status
    finally:
        await db.execute("ALTER TABLE IF EXISTS was_alembic_version RENAME TO alembic_version")
        await db.execute("DELETE FROM alembic_version")
        await db.execute("INSERT INTO alembic_version VALUES ($1)", version)


async def test_not_ready_if_the_database_has_an_older_revision(
    app: object, client: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    from app.db.revisions import Revisions

    current = str(await db.fetchval("SELECT version_num FROM alembic_version"))
    newer = Revisions(known=frozenset({current, "next"}), heads=frozenset({"next"}))
    client._transport.app.state.revisions = newer  # type: ignore[attr-defined]  # ASGITransport

    assert (await client.get("/health/ready")).status_code == 503


async def test_not_ready_while_the_database_is_unavailable(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app(database_url="postgresql://nobody@127.0.0.1:1/none") as app:
        response = await make_client(app).get("/health/ready")

    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert response.json()["type"] == "/problems/not-ready"


@pytest.mark.slow
async def test_not_ready_within_two_seconds_while_the_database_hangs(
    make_app: AppFactory, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    async with make_app(database_timeout_seconds=HANG_SECONDS) as app, db.transaction():
        await db.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        start = time.monotonic()
        response = await make_client(app).get("/health/ready")
        seconds = time.monotonic() - start

    assert response.status_code == 503
    assert READY_WITHIN_SECONDS < 2
    assert READY_WITHIN_SECONDS <= seconds < HANG_SECONDS / 2  # no other timeout applied


async def test_not_ready_while_shutting_down(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app() as app:
        app.state.draining = True
        response = await make_client(app).get("/health/ready")
        health = await make_client(app).get("/health")

    assert response.status_code == 503
    assert health.status_code == 200
    assert health.headers["connection"] == "close"
