import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Integer, bindparam, func, literal, select, text
from sqlalchemy.exc import DBAPIError

from app.api.problems import problem_of
from app.db.driver import Query, driver_connection
from app.db.session import DatabaseUnavailable
from tests.conftest import AppFactory

BACKEND = Query(select(func.pg_backend_pid()))
ADD = "INSERT INTO attempt_counts (key, attempts, window_ends_at) VALUES ('x', 1, now())"
COUNT = "SELECT count(*) FROM attempt_counts"


async def backend_of(app: FastAPI) -> object:
    """Give the process id of the server's end of the pool's only connection."""
    async with driver_connection(app.state.database, transaction=False) as driver:
        assert not driver.is_in_transaction()
        row = await BACKEND.fetch(driver)
        assert row is not None
        return row[0]


async def add_and_run(
    app: FastAPI, then: Callable[[asyncpg.Connection], Awaitable[object]]
) -> None:
    """Write a row, and do something more in the same transaction."""
    async with driver_connection(app.state.database, transaction=True) as driver:
        await driver.execute(ADD)
        await then(driver)


@pytest.fixture
async def app(make_app: AppFactory) -> AsyncIterator[FastAPI]:
    """The application, with one connection."""
    async with make_app(database_pool_size=1, database_max_overflow=0) as app:
        yield app


async def test_a_transaction_is_committed(app: FastAPI, db: asyncpg.Connection) -> None:
    await add_and_run(app, BACKEND.fetch)
    assert await db.fetchval(COUNT) == 1


async def test_a_fault_is_rolled_back(app: FastAPI, db: asyncpg.Connection) -> None:
    backend = await backend_of(app)
    with pytest.raises(DBAPIError, match="division by zero"):
        await add_and_run(app, Query(select(literal(1) / text("0"))).fetch)
    assert await db.fetchval(COUNT) == 0
    assert await backend_of(app) == backend


async def test_a_refusal_costs_no_connection(app: FastAPI, client: httpx.AsyncClient) -> None:
    backend = await backend_of(app)
    for letter in "abc":
        client.cookies.set("__Host-refresh", letter * 43, domain="api.test", path="/")
        assert (await client.post("/api/v1/auth/refresh")).status_code == 401
    assert await backend_of(app) == backend


async def test_a_server_that_goes_away_in_the_middle_is_hung_up(
    app: FastAPI, db: asyncpg.Connection
) -> None:
    async def lose(driver: asyncpg.Connection) -> None:
        await db.fetchval("SELECT pg_terminate_backend($1, 5000)", backend)
        await BACKEND.fetch(driver)

    backend = await backend_of(app)
    with pytest.raises((DBAPIError, DatabaseUnavailable)) as lost:
        await add_and_run(app, lose)
    problem = problem_of(lost.value)
    assert problem is not None
    assert problem.status == 503
    assert await db.fetchval(COUNT) == 0
    assert await backend_of(app) != backend


async def test_a_rollback_that_is_cancelled_leaves_no_transaction_in_the_pool(
    app: FastAPI, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(driver: asyncpg.Connection) -> None:
        monkeypatch.setattr(asyncpg.Connection, "execute", cancelled)
        raise LookupError

    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await add_and_run(app, fail)
    monkeypatch.undo()
    assert await db.fetchval(COUNT) == 0
    await backend_of(app)


async def test_a_value_that_is_missing_or_too_many_is_no_null(app: FastAPI) -> None:
    query = Query(select(bindparam("one", type_=Integer), bindparam("two", type_=Integer)))
    async with driver_connection(app.state.database, transaction=False) as driver:
        assert await query.fetch(driver, one=1, two=2) == (1, 2)
        with pytest.raises(KeyError):
            await query.fetch(driver, one=1)
        with pytest.raises(TypeError, match="three"):
            await query.fetch(driver, one=1, two=2, three=3)
