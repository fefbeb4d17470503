"""Races, forty rounds each, on enough connections that the calls really overlap.

Each test goes red when its lock, its re-read or its commit is taken out.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.core.emails import normalize_email
from app.services.administration import deactivate_user
from tests.conftest import (
    HANG_SECONDS,
    PASSWORD,
    AppFactory,
    ClientFactory,
    add_user,
    age,
    cookie,
    log_in,
    set_cookie,
)

# Measuring coverage would slow down what has to be fast here.
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

ROUNDS = int(os.environ.get("RACE_ROUNDS", "40"))
CALLS = 20
GRACE = 60  # seconds, the longest: calls at once are in it on a slow machine too
LOGOUT = "/api/v1/auth/logout"
REFRESH = "/api/v1/auth/refresh"
CHANGE = "/api/v1/users/me/password"
NEW = "another long passphrase"

LIVING_SESSIONS = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL"
LIVING_TOKENS = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL"


@pytest.fixture
async def app(make_app: AppFactory) -> AsyncIterator[FastAPI]:
    """Return the application with a connection for each call, and no limit on logins."""
    async with make_app(
        login_throttle_enabled=False,
        database_pool_size=CALLS + 5,
        database_timeout_seconds=HANG_SECONDS,
        refresh_grace_seconds=GRACE,
    ) as app:
        await add_user(app, "ada@example.com")
        yield app


@pytest.fixture
def tabs(app: FastAPI, make_client: ClientFactory) -> list[httpx.AsyncClient]:
    """Clients that can each have cookies of their own."""
    return [make_client(app) for _ in range(CALLS)]


async def sign_in(tabs: list[httpx.AsyncClient], password: str = PASSWORD) -> None:
    """Sign the first tab in, and give all the others its cookies."""
    tabs[0].cookies.clear()
    assert (await log_in(tabs[0], "ada@example.com", password)).status_code == 200
    for tab in tabs[1:]:
        tab.cookies = httpx.Cookies(tabs[0].cookies)


async def test_tabs_that_refresh_at_once_all_get_the_one_new_token(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    for _ in range(ROUNDS):
        await sign_in(tabs)
        responses = await asyncio.gather(*(tab.post(REFRESH) for tab in tabs))

        assert Counter(response.status_code for response in responses) == {204: CALLS}
        assert len({cookie(tab, "refresh") for tab in tabs}) == 1
        assert await db.fetchval(LIVING_TOKENS) == await db.fetchval(LIVING_SESSIONS)
        await age(db, GRACE)
        assert (await tabs[-1].post(REFRESH)).status_code == 204


async def test_ten_tabs_that_wake_up_over_a_slow_network_keep_the_session(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    network = random.Random(1)  # noqa: S311  # the same network each time

    async def wake(tab: httpx.AsyncClient, browser: list[str]) -> int:
        """Refresh with what the browser holds by then; it keeps the answer that arrives last."""
        await asyncio.sleep(network.uniform(0, 0.3))
        set_cookie(tab, "refresh", browser[-1])
        await asyncio.sleep(network.uniform(0.02, 0.3))
        response = await tab.post(REFRESH)
        await asyncio.sleep(network.uniform(0.02, 0.3))
        browser.append(cookie(tab, "refresh"))
        return response.status_code

    await sign_in(tabs)
    browser = [cookie(tabs[0], "refresh")]
    for _ in range(10):
        await age(db, GRACE)
        statuses = await asyncio.gather(*(wake(tab, browser) for tab in tabs[:10]))
        assert set(statuses) == {204}
    assert len(set(browser)) == 11


async def test_a_logout_beside_refreshes_leaves_nothing_alive(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    for number in range(ROUNDS):
        await sign_in(tabs)
        logout = number % CALLS
        responses = await asyncio.gather(
            *(tab.post(LOGOUT if n == logout else REFRESH) for n, tab in enumerate(tabs))
        )

        assert {response.status_code for response in responses} <= {204, 401}
        assert await db.fetchval(LIVING_SESSIONS) == 0
        assert await db.fetchval(LIVING_TOKENS) == 0


async def test_logins_beside_a_password_change_leave_no_session_on_the_old_password(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    old, new = PASSWORD, NEW
    for _ in range(ROUNDS):
        await db.execute("DELETE FROM sessions")
        assert (await log_in(tabs[0], "ada@example.com", old)).status_code == 200
        for tab in tabs[1:]:
            tab.cookies.clear()
        body = {"current_password": old, "new_password": new}
        changed, *logins = await asyncio.gather(
            tabs[0].put(CHANGE, json=body),
            *(log_in(tab, "ada@example.com", old) for tab in tabs[1:]),
        )

        assert changed.status_code == 204
        assert {response.status_code for response in logins} <= {200, 401}
        assert await db.fetchval(LIVING_SESSIONS) == 1
        assert (await tabs[0].get("/api/v1/users/me")).status_code == 200
        tabs[0].cookies.clear()
        old, new = new, old


async def test_of_password_changes_at_once_one_wins(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    current = PASSWORD
    for number in range(ROUNDS):
        await sign_in(tabs, password=current)
        wanted = [f"passphrase {number} of tab {tab}" for tab in range(5)]
        responses = await asyncio.gather(
            *(
                tab.put(CHANGE, json={"current_password": current, "new_password": new})
                for tab, new in zip(tabs, wanted, strict=False)
            )
        )

        statuses = [response.status_code for response in responses]
        assert sorted(statuses) == [204, 401, 401, 401, 401]
        assert await db.fetchval(LIVING_SESSIONS) == 1
        current = wanted[statuses.index(204)]


async def test_logins_beside_a_deactivation_leave_nothing_alive(
    app: FastAPI, tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    for _ in range(ROUNDS):
        await db.execute("UPDATE users SET is_active = true")

        async def deactivate() -> None:
            async with app.state.database.sessions() as session:
                await deactivate_user(session, normalize_email("ada@example.com"))

        for tab in tabs:
            tab.cookies.clear()
        await asyncio.gather(deactivate(), *(log_in(tab, "ada@example.com") for tab in tabs[:10]))

        assert await db.fetchval(LIVING_SESSIONS) == 0


async def test_signing_in_crosswise_never_waits_in_a_circle(
    app: FastAPI, tabs: list[httpx.AsyncClient]
) -> None:
    await add_user(app, "bob@example.com")
    ada, bob = tabs[:2]
    for _ in range(ROUNDS):
        for first, second in (("ada", "bob"), ("bob", "ada")):
            responses = await asyncio.gather(
                log_in(ada, f"{first}@example.com"), log_in(bob, f"{second}@example.com")
            )
            assert {response.status_code for response in responses} == {200}


async def test_a_stolen_token_beside_refreshes_ends_the_session_once(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    for _ in range(ROUNDS):
        await sign_in(tabs)
        stolen = cookie(tabs[0], "refresh")
        await tabs[0].post(REFRESH)
        await age(db, GRACE)
        for number, tab in enumerate(tabs[1:]):
            set_cookie(tab, "refresh", stolen if number % 2 else cookie(tabs[0], "refresh"))
        responses = await asyncio.gather(*(tab.post(REFRESH) for tab in tabs[1:]))

        assert {response.status_code for response in responses} <= {204, 401}
        assert await db.fetchval(LIVING_SESSIONS) == 0
        assert await db.fetchval(LIVING_TOKENS) == 0


async def test_logins_at_once_keep_the_limit_of_sessions(
    app: FastAPI, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    for _ in range(3):
        clients = [make_client(app) for _ in range(CALLS)]
        responses = await asyncio.gather(*(log_in(c, "ada@example.com") for c in clients))
        assert {response.status_code for response in responses} == {200}
        assert await db.fetchval(LIVING_SESSIONS) == 20


async def test_sessions_of_different_users_do_not_wait_for_each_other(
    app: FastAPI, tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    await add_user(app, "bob@example.com")
    await log_in(tabs[0], "bob@example.com")
    async with db.transaction():
        await db.execute("SELECT id FROM users WHERE email = 'ada@example.com' FOR NO KEY UPDATE")
        # A refresh that waits for the lock gets 503 at the end of the database's timeout.
        assert (await tabs[0].post(REFRESH)).status_code == 204
