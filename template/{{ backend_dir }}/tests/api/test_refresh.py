import asyncio

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.services.purging import Purged, purge
from app.services.users import PublicUser
from tests.conftest import AppFactory, ClientFactory, add_user, age, cookie, log_in, set_cookie

ME = "/api/v1/users/me"
REFRESH = "/api/v1/auth/refresh"
WINDOW = 10


async def refresh(client: httpx.AsyncClient, token: str | None = None) -> httpx.Response:
    """Refresh with the client's own token, or with another one."""
    if token is not None:
        set_cookie(client, "refresh", token)
    return await client.post(REFRESH)


async def test_refresh_sets_both_cookies_anew(signed_in: httpx.AsyncClient) -> None:
    first = cookie(signed_in, "access"), cookie(signed_in, "refresh")
    response = await refresh(signed_in)

    assert response.status_code == 204
    assert response.content == b""
    assert cookie(signed_in, "access") != first[0]
    assert cookie(signed_in, "refresh") != first[1]
    assert (await signed_in.get(ME)).status_code == 200


async def test_five_refreshes_give_five_tokens(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    tokens = {cookie(signed_in, "refresh")}
    for _ in range(5):
        await age(db, WINDOW)
        assert (await refresh(signed_in)).status_code == 204
        tokens.add(cookie(signed_in, "refresh"))

    assert len(tokens) == 6


async def test_inside_the_window_a_repeat_gets_the_same_answer(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    parent = cookie(signed_in, "refresh")
    await refresh(signed_in)
    child = cookie(signed_in, "refresh")

    for presented in (parent, child, parent):
        assert (await refresh(signed_in, presented)).status_code == 204
        assert cookie(signed_in, "refresh") == child
    alive = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL"
    assert await db.fetchval(alive) == 1


async def test_repeats_do_not_extend_the_window(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    parent = cookie(signed_in, "refresh")
    await refresh(signed_in)
    await age(db, 5)
    assert (await refresh(signed_in, parent)).status_code == 204
    await age(db, 6)

    assert (await refresh(signed_in, parent)).status_code == 401


async def test_replayed_refresh_token_ends_the_session(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    stolen = cookie(signed_in, "refresh")
    await refresh(signed_in)
    thief = make_client(app, cookies=dict(signed_in.cookies))
    await age(db, WINDOW)

    response = await refresh(thief, stolen)

    assert response.status_code == 401
    assert response.json()["type"] == "/problems/refresh-token-reused"
    cleared = response.headers.get_list("set-cookie")
    assert len(cleared) == 2
    assert all("Max-Age=0; Path=/; SameSite=" in c and "; Secure" in c for c in cleared)
    assert (await signed_in.get(ME)).status_code == 401
    assert (await refresh(signed_in)).status_code == 401
    assert await db.fetchval("SELECT count(*) FROM sessions WHERE revoked_at IS NULL") == 0


async def test_a_grandparent_is_theft_even_inside_the_window(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    grandparent = cookie(signed_in, "refresh")
    await refresh(signed_in)
    await age(db, WINDOW)
    await refresh(signed_in)

    assert (await refresh(signed_in, grandparent)).status_code == 401


@pytest.mark.parametrize("hours", [1, 24])
async def test_a_clock_that_goes_back_reopens_no_grace_period(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection, hours: int
) -> None:
    rotated = cookie(signed_in, "refresh")
    await refresh(signed_in)
    # The database's clock now shows a time before the rotation.
    await age(db, -hours * 3600)

    response = await refresh(signed_in, rotated)
    assert response.json()["type"] == "/problems/refresh-token-reused"


async def test_a_clock_that_goes_back_a_little_ends_no_session(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    rotated = cookie(signed_in, "refresh")
    await refresh(signed_in)
    await age(db, -5)

    assert (await refresh(signed_in, rotated)).status_code == 204


async def test_a_replay_is_noticed_after_a_purge_too(
    app: FastAPI, signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    stolen = cookie(signed_in, "refresh")
    await refresh(signed_in)
    await age(db, 7 * 24 * 3600)
    await refresh(signed_in)
    async with app.state.database.sessions() as session:
        assert await purge(session, app.state.settings) == Purged(0, 0, 4)

    response = await refresh(signed_in, stolen)
    assert response.json()["type"] == "/problems/refresh-token-reused"


async def test_theft_leaves_other_sessions_alone(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    make_client: ClientFactory,
    ada: PublicUser,
    db: asyncpg.Connection,
) -> None:
    other_device = make_client(app)
    await log_in(other_device, ada.email)
    stolen = cookie(signed_in, "refresh")
    await refresh(signed_in)
    await age(db, WINDOW)
    await refresh(signed_in, stolen)

    assert (await refresh(other_device)).status_code == 204


async def test_without_a_window_a_replay_is_theft_at_once(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app(refresh_grace_seconds=0) as app:
        await add_user(app, "ada@example.com")
        client = make_client(app)
        await log_in(client, "ada@example.com")
        first = cookie(client, "refresh")
        assert (await refresh(client)).status_code == 204
        assert (await refresh(client)).status_code == 204
        assert (await refresh(client, first)).status_code == 401


@pytest.mark.parametrize(
    "token", ["u" * 43, "x", "x" * 10_000, "é", ""], ids=["made-up", "short", "long", "é", "empty"]
)
async def test_an_unknown_token_is_refused_and_both_cookies_are_cleared(
    client: httpx.AsyncClient, token: str
) -> None:
    headers = [(b"cookie", f"__Host-refresh={token}".encode())]
    response = await client.post(REFRESH, headers=headers)

    assert response.status_code == 401
    assert response.json()["type"] == "/problems/refresh-token-unknown"
    assert len(response.headers.get_list("set-cookie")) == 2


async def test_a_session_that_is_over_leaves_the_cookies_alone(
    signed_in: httpx.AsyncClient, app: FastAPI, make_client: ClientFactory
) -> None:
    late = make_client(app, cookies=dict(signed_in.cookies))
    await signed_in.post("/api/v1/auth/logout")
    response = await late.post(REFRESH)

    assert response.status_code == 401
    assert response.json()["type"] == "/problems/session-over"
    assert "set-cookie" not in response.headers


async def test_an_idle_session_expires(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await age(db, 14 * 24 * 3600)
    response = await refresh(signed_in)

    assert response.status_code == 401
    assert response.json()["type"] == "/problems/session-over"
    assert "refresh_token_reuse" not in caplog.text


async def test_a_session_expires_however_busy(
    make_app: AppFactory, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    async with make_app(session_ttl_seconds=60, refresh_grace_seconds=0) as app:
        await add_user(app, "ada@example.com")
        client = make_client(app)
        await log_in(client, "ada@example.com")
        await age(db, 40)
        response = await refresh(client)
        assert response.status_code == 204
        # Neither cookie outlives the session.
        assert all("Max-Age=19" in c for c in response.headers.get_list("set-cookie"))
        await age(db, 20)
        assert (await client.get(ME)).status_code == 401
        assert (await refresh(client)).status_code == 401


async def test_a_disabled_user_can_not_refresh(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE users SET is_active = false")

    assert (await refresh(signed_in)).status_code == 401
    assert (await signed_in.get(ME)).status_code == 401


async def test_a_deleted_user_can_not_refresh(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    await db.execute("DELETE FROM users")

    assert (await refresh(signed_in)).status_code == 401


async def test_only_hashes_of_tokens_are_stored(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    await refresh(signed_in)
    rows = [dict(row) for row in await db.fetch("SELECT * FROM refresh_tokens")]

    assert len(rows) == 2
    assert cookie(signed_in, "refresh") not in str(rows)


async def test_twenty_refreshes_at_once_all_get_the_same_token(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    tabs = [make_client(app, cookies=dict(signed_in.cookies)) for _ in range(20)]
    responses = await asyncio.gather(*(tab.post(REFRESH) for tab in tabs))

    assert {response.status_code for response in responses} == {204}
    assert len({cookie(tab, "refresh") for tab in tabs}) == 1
    assert await db.fetchval("SELECT count(*) FROM refresh_tokens") == 2
    await age(db, WINDOW)
    assert (await refresh(tabs[7])).status_code == 204
