"""Race conditions: forty rounds each, with enough connections for requests to overlap.

Each test fails if the lock, the second read or the commit that it covers is removed.
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
from app.services.email_tokens import EmailPurpose, issue_email_token, reserve_email_token
from tests.conftest import (
    HANG_SECONDS,
    PASSWORD,
    AppFactory,
    ClientFactory,
    add_user,
    advance_time,
    cookie,
    log_in,
    set_cookie,
)

# The measurement of coverage would make these tests too slow.
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

ROUNDS = int(os.environ.get("RACE_ROUNDS", "40"))
REQUESTS = 20
GRACE = 60  # seconds: the maximum, so that concurrent requests are within it on a slow machine too
LOGOUT = "/api/v1/auth/logout"
REFRESH = "/api/v1/auth/refresh"
CHANGE = "/api/v1/users/me/password"
RESET = "/api/v1/auth/password"
ME = "/api/v1/users/me"
TOKENS = f"{ME}/tokens"
EMAIL = normalize_email("ada@example.com")
NEW = "another long passphrase"
NEW_TOKEN = {"name": "CI", "scopes": ["read"], "expires_in_days": 1}

ACTIVE_SESSIONS = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL"
CURRENT_TOKENS = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL"


@pytest.fixture
async def app(make_app: AppFactory) -> AsyncIterator[FastAPI]:
    """Return the application with a connection for each request and without rate limits."""
    async with make_app(
        login_throttle_enabled=False,
        access_tokens_enabled=True,
        database_pool_size=REQUESTS + 5,
        database_timeout_seconds=HANG_SECONDS,
        refresh_grace_seconds=GRACE,
    ) as app:
        await add_user(app, "ada@example.com")
        yield app


@pytest.fixture
def tabs(app: FastAPI, make_client: ClientFactory) -> list[httpx.AsyncClient]:
    """Return clients that each have their own cookies."""
    return [make_client(app) for _ in range(REQUESTS)]


async def sign_in(tabs: list[httpx.AsyncClient], password: str = PASSWORD) -> None:
    """Sign in with the first tab, and copy its cookies to all others."""
    tabs[0].cookies.clear()
    assert (await log_in(tabs[0], "ada@example.com", password)).status_code == 200
    for tab in tabs[1:]:
        tab.cookies = httpx.Cookies(tabs[0].cookies)


async def test_tabs_that_refresh_concurrently_get_the_same_token(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    for _ in range(ROUNDS):
        await sign_in(tabs)
        responses = await asyncio.gather(*(tab.post(REFRESH) for tab in tabs))

        assert Counter(response.status_code for response in responses) == {204: REQUESTS}
        assert len({cookie(tab, "refresh") for tab in tabs}) == 1
        assert await db.fetchval(CURRENT_TOKENS) == await db.fetchval(ACTIVE_SESSIONS)
        await advance_time(db, GRACE)
        assert (await tabs[-1].post(REFRESH)).status_code == 204


async def test_ten_tabs_on_a_slow_network_keep_the_session(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    network = random.Random(1)  # noqa: S311  # the same network each time

    async def wake(tab: httpx.AsyncClient, browser: list[str]) -> int:
        """Refresh with the browser's newest cookie, and let the browser store the result."""
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
        await advance_time(db, GRACE)
        statuses = await asyncio.gather(*(wake(tab, browser) for tab in tabs[:10]))
        assert set(statuses) == {204}
    assert len(set(browser)) == 11


async def test_logout_during_refreshes_leaves_nothing_active(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    for number in range(ROUNDS):
        await sign_in(tabs)
        logout = number % REQUESTS
        responses = await asyncio.gather(
            *(tab.post(LOGOUT if n == logout else REFRESH) for n, tab in enumerate(tabs))
        )

        assert {response.status_code for response in responses} <= {204, 401}
        assert await db.fetchval(ACTIVE_SESSIONS) == 0
        assert await db.fetchval(CURRENT_TOKENS) == 0


async def test_password_change_revokes_concurrent_logins_with_the_old_one(
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
        assert await db.fetchval(ACTIVE_SESSIONS) == 1
        assert (await tabs[0].get("/api/v1/users/me")).status_code == 200
        tabs[0].cookies.clear()
        old, new = new, old


async def test_password_reset_revokes_concurrent_logins_with_the_old_password(
    app: FastAPI, tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    old, new = PASSWORD, NEW
    user_id = await db.fetchval("SELECT id FROM users")
    for _ in range(ROUNDS):
        await db.execute("DELETE FROM sessions")
        async with app.state.database.transaction() as session:
            row_id = await reserve_email_token(session, EmailPurpose.RESET, EMAIL, user_id)
            token = await issue_email_token(session, row_id, EmailPurpose.RESET)
        for tab in tabs:
            tab.cookies.clear()
        reset, *logins = await asyncio.gather(
            tabs[0].post(RESET, json={"token": token, "new_password": new}),
            *(log_in(tab, EMAIL, old) for tab in tabs[1:]),
        )

        assert reset.status_code == 200
        assert {response.status_code for response in logins} <= {200, 401}
        assert await db.fetchval(ACTIVE_SESSIONS) == 1
        assert (await tabs[0].get("/api/v1/users/me")).status_code == 200
        old, new = new, old


async def test_only_one_of_five_concurrent_password_changes_succeeds(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    current = PASSWORD
    for number in range(ROUNDS):
        await sign_in(tabs, password=current)
        new_passwords = [f"passphrase {number} of tab {tab}" for tab in range(5)]
        responses = await asyncio.gather(
            *(
                tab.put(CHANGE, json={"current_password": current, "new_password": new})
                for tab, new in zip(tabs, new_passwords, strict=False)
            )
        )

        statuses = [response.status_code for response in responses]
        assert sorted(statuses) == [204, 401, 401, 401, 401]
        assert await db.fetchval(ACTIVE_SESSIONS) == 1
        current = new_passwords[statuses.index(204)]


async def test_logins_during_a_deactivation_leave_no_active_session(
    app: FastAPI, tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    for _ in range(ROUNDS):
        await db.execute("UPDATE users SET is_active = true")

        async def deactivate() -> None:
            async with app.state.database.sessions() as session:
                await deactivate_user(session, EMAIL)

        for tab in tabs:
            tab.cookies.clear()
        await asyncio.gather(deactivate(), *(log_in(tab, "ada@example.com") for tab in tabs[:10]))

        assert await db.fetchval(ACTIVE_SESSIONS) == 0


async def test_token_is_rejected_after_the_response_to_its_revocation(
    tabs: list[httpx.AsyncClient], app: FastAPI, make_client: ClientFactory
) -> None:
    await sign_in(tabs)
    programs = [make_client(app) for _ in range(10)]
    for _ in range(ROUNDS // 4):
        created = (await tabs[0].post(TOKENS, json=NEW_TOKEN)).json()
        header = {"authorization": f"Bearer {created['token']}"}
        revoked = asyncio.Event()

        async def use(
            program: httpx.AsyncClient, header: dict[str, str], revoked: asyncio.Event
        ) -> list[tuple[bool, int]]:
            """Use the token until it is rejected. Return each status, and if it was revoked."""
            uses: list[tuple[bool, int]] = []
            while not uses or uses[-1][1] == 200:
                was_revoked = revoked.is_set()
                response = await program.get(ME, headers=header)
                uses.append((was_revoked, response.status_code))
            return uses

        async def revoke(path: str, revoked: asyncio.Event) -> None:
            assert (await tabs[0].delete(path)).status_code == 204
            revoked.set()

        uses = [use(program, header, revoked) for program in programs]
        path = f"{TOKENS}/{created['id']}"
        async with asyncio.timeout(HANG_SECONDS):
            results, _ = await asyncio.gather(asyncio.gather(*uses), revoke(path, revoked))

        statuses = {use for uses_of_one in results for use in uses_of_one}
        assert statuses <= {(False, 200), (False, 401), (True, 401)}
        assert (await programs[0].get(ME, headers=header)).status_code == 401


async def test_password_change_leaves_no_token_that_is_created_meanwhile(
    app: FastAPI, tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    old, new = PASSWORD, NEW
    for _ in range(ROUNDS // 4):
        await sign_in(tabs, old)
        body = {"current_password": old, "new_password": new}
        responses = await asyncio.gather(
            *(tab.post(TOKENS, json=NEW_TOKEN) for tab in tabs[1:11]),
            tabs[0].put(CHANGE, json=body),
            *(tab.post(TOKENS, json=NEW_TOKEN) for tab in tabs[11:]),
        )

        assert responses[10].status_code == 204
        assert {response.status_code for response in responses} <= {201, 204, 401}
        assert await db.fetchval("SELECT count(*) FROM personal_access_tokens") == 0
        old, new = new, old


async def test_concurrent_logins_with_swapped_users_do_not_deadlock(
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


async def test_reuse_during_refreshes_revokes_the_session(
    tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    for _ in range(ROUNDS):
        await sign_in(tabs)
        rotated = cookie(tabs[0], "refresh")
        await tabs[0].post(REFRESH)
        await advance_time(db, GRACE)
        for number, tab in enumerate(tabs[1:]):
            set_cookie(tab, "refresh", rotated if number % 2 else cookie(tabs[0], "refresh"))
        responses = await asyncio.gather(*(tab.post(REFRESH) for tab in tabs[1:]))

        assert {response.status_code for response in responses} <= {204, 401}
        assert await db.fetchval(ACTIVE_SESSIONS) == 0
        assert await db.fetchval(CURRENT_TOKENS) == 0


async def test_concurrent_logins_respect_the_session_limit(
    app: FastAPI, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    for _ in range(3):
        clients = [make_client(app) for _ in range(REQUESTS)]
        responses = await asyncio.gather(*(log_in(c, "ada@example.com") for c in clients))
        assert {response.status_code for response in responses} == {200}
        assert await db.fetchval(ACTIVE_SESSIONS) == 20


async def test_sessions_of_different_users_do_not_wait_for_each_other(
    app: FastAPI, tabs: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    await add_user(app, "bob@example.com")
    await log_in(tabs[0], "bob@example.com")
    async with db.transaction():
        await db.execute("SELECT id FROM users WHERE email = 'ada@example.com' FOR NO KEY UPDATE")
        # If the refresh waited for the lock, it would get 503 after the database timeout.
        assert (await tabs[0].post(REFRESH)).status_code == 204
