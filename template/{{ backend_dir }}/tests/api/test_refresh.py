import asyncio

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.services.purging import Purged, purge
from app.services.users import PublicUser
from tests.conftest import (
    AppFactory,
    ClientFactory,
    add_user,
    advance_time,
    cookie,
    log_in,
    set_cookie,
)

ME = "/api/v1/users/me"
REFRESH = "/api/v1/auth/refresh"
GRACE_SECONDS = 10


async def refresh(client: httpx.AsyncClient, token: str | None = None) -> httpx.Response:
    """Refresh with the client's current cookie, or with another token."""
    if token is not None:
        set_cookie(client, "refresh", token)
    return await client.post(REFRESH)


async def test_refresh_replaces_both_cookies(signed_in: httpx.AsyncClient) -> None:
    first = cookie(signed_in, "access"), cookie(signed_in, "refresh")
    response = await refresh(signed_in)

    assert response.status_code == 204
    assert response.content == b""
    assert cookie(signed_in, "access") != first[0]
    assert cookie(signed_in, "refresh") != first[1]
    assert (await signed_in.get(ME)).status_code == 200


async def test_five_refreshes_return_five_different_tokens(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    tokens = {cookie(signed_in, "refresh")}
    for _ in range(5):
        await advance_time(db, GRACE_SECONDS)
        assert (await refresh(signed_in)).status_code == 204
        tokens.add(cookie(signed_in, "refresh"))

    assert len(tokens) == 6


async def test_repeated_refresh_in_the_grace_period_returns_the_same_token(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    rotated = cookie(signed_in, "refresh")
    await refresh(signed_in)
    successor = cookie(signed_in, "refresh")

    for presented in (rotated, successor, rotated):
        assert (await refresh(signed_in, presented)).status_code == 204
        assert cookie(signed_in, "refresh") == successor
    active = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL"
    assert await db.fetchval(active) == 1


async def test_repeated_refreshes_do_not_extend_the_grace_period(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    rotated = cookie(signed_in, "refresh")
    await refresh(signed_in)
    await advance_time(db, 5)
    assert (await refresh(signed_in, rotated)).status_code == 204
    await advance_time(db, 6)

    assert (await refresh(signed_in, rotated)).status_code == 401


async def test_reused_refresh_token_revokes_the_session(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    rotated = cookie(signed_in, "refresh")
    await refresh(signed_in)
    attacker = make_client(app, cookies=dict(signed_in.cookies))
    await advance_time(db, GRACE_SECONDS)

    response = await refresh(attacker, rotated)

    assert response.status_code == 401
    assert response.json()["type"] == "/problems/refresh-token-reused"
    cleared = response.headers.get_list("set-cookie")
    assert len(cleared) == 2
    assert all("Max-Age=0; Path=/; SameSite=" in c and "; Secure" in c for c in cleared)
    assert (await signed_in.get(ME)).status_code == 401
    assert (await refresh(signed_in)).status_code == 401
    assert await db.fetchval("SELECT count(*) FROM sessions WHERE revoked_at IS NULL") == 0


async def test_token_from_two_rotations_ago_is_reuse_within_the_grace_period(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    two_rotations_ago = cookie(signed_in, "refresh")
    await refresh(signed_in)
    await advance_time(db, GRACE_SECONDS)
    await refresh(signed_in)

    assert (await refresh(signed_in, two_rotations_ago)).status_code == 401


@pytest.mark.parametrize("hours", [1, 24])
async def test_clock_set_back_does_not_reopen_the_grace_period(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection, hours: int
) -> None:
    rotated = cookie(signed_in, "refresh")
    await refresh(signed_in)
    # The database clock now shows a time before the rotation.
    await advance_time(db, -hours * 3600)

    response = await refresh(signed_in, rotated)
    assert response.json()["type"] == "/problems/refresh-token-reused"


async def test_clock_set_back_by_seconds_does_not_revoke_the_session(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    rotated = cookie(signed_in, "refresh")
    await refresh(signed_in)
    await advance_time(db, -5)

    assert (await refresh(signed_in, rotated)).status_code == 204


async def test_reuse_is_detected_after_a_purge(
    app: FastAPI, signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    rotated = cookie(signed_in, "refresh")
    await refresh(signed_in)
    await advance_time(db, 7 * 24 * 3600)
    await refresh(signed_in)
    async with app.state.database.sessions() as session:
        assert await purge(session, app.state.settings) == Purged(0, 0, 4, 0)

    response = await refresh(signed_in, rotated)
    assert response.json()["type"] == "/problems/refresh-token-reused"


async def test_reuse_does_not_revoke_other_sessions(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    make_client: ClientFactory,
    ada: PublicUser,
    db: asyncpg.Connection,
) -> None:
    other_device = make_client(app)
    await log_in(other_device, ada.email)
    rotated = cookie(signed_in, "refresh")
    await refresh(signed_in)
    await advance_time(db, GRACE_SECONDS)
    await refresh(signed_in, rotated)

    assert (await refresh(other_device)).status_code == 204


async def test_rotated_token_is_reuse_at_once_without_a_grace_period(
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
async def test_unknown_token_is_rejected_and_both_cookies_are_cleared(
    client: httpx.AsyncClient, token: str
) -> None:
    headers = [(b"cookie", f"__Host-refresh={token}".encode())]
    response = await client.post(REFRESH, headers=headers)

    assert response.status_code == 401
    assert response.json()["type"] == "/problems/refresh-token-unknown"
    assert len(response.headers.get_list("set-cookie")) == 2


async def test_refresh_of_a_revoked_session_does_not_clear_the_cookies(
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
    await advance_time(db, 14 * 24 * 3600)
    response = await refresh(signed_in)

    assert response.status_code == 401
    assert response.json()["type"] == "/problems/session-over"
    assert "refresh_token_reuse" not in caplog.text


async def test_session_expires_even_if_it_is_refreshed(
    make_app: AppFactory, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    async with make_app(session_ttl_seconds=60, refresh_grace_seconds=0) as app:
        await add_user(app, "ada@example.com")
        client = make_client(app)
        await log_in(client, "ada@example.com")
        await advance_time(db, 40)
        response = await refresh(client)
        assert response.status_code == 204
        # Both cookies expire with the session.
        assert all("Max-Age=19" in c for c in response.headers.get_list("set-cookie"))
        await advance_time(db, 20)
        assert (await client.get(ME)).status_code == 401
        assert (await refresh(client)).status_code == 401


async def test_disabled_user_cannot_refresh(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE users SET is_active = false")

    assert (await refresh(signed_in)).status_code == 401
    assert (await signed_in.get(ME)).status_code == 401


async def test_deleted_user_cannot_refresh(
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


async def test_twenty_concurrent_refreshes_get_the_same_token(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    tabs = [make_client(app, cookies=dict(signed_in.cookies)) for _ in range(20)]
    responses = await asyncio.gather(*(tab.post(REFRESH) for tab in tabs))

    assert {response.status_code for response in responses} == {204}
    assert len({cookie(tab, "refresh") for tab in tabs}) == 1
    assert await db.fetchval("SELECT count(*) FROM refresh_tokens") == 2
    await advance_time(db, GRACE_SECONDS)
    assert (await refresh(tabs[7])).status_code == 204
