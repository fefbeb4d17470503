import uuid

import asyncpg
import httpx
from fastapi import FastAPI

from app.services.users import PublicUser
from tests.conftest import ClientFactory, add_user, advance_time, log_in

ME = "/api/v1/users/me"
SESSIONS = "/api/v1/users/me/sessions"


async def test_session_list_shows_each_device_once(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory, ada: PublicUser
) -> None:
    phone = make_client(app, headers={"user-agent": "Phone/1.0"})
    await log_in(phone, ada.email)
    response = await signed_in.get(SESSIONS)

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    first, second = response.json()
    assert set(first) == {
        "id", "created_at", "last_used_at", "expires_at", "user_agent", "current",
    }  # fmt: skip
    assert (first["user_agent"], first["current"]) == ("Phone/1.0", False)
    assert second["current"]


async def test_refresh_updates_the_time_of_last_use(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    await advance_time(db, 60)
    (before,) = (await signed_in.get(SESSIONS)).json()
    await signed_in.post("/api/v1/auth/refresh")
    (after,) = (await signed_in.get(SESSIONS)).json()

    assert after["last_used_at"] > before["last_used_at"]
    assert after["expires_at"] == before["expires_at"]


async def test_session_that_expired_without_use_is_not_listed(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    make_client: ClientFactory,
    ada: PublicUser,
    db: asyncpg.Connection,
) -> None:
    await advance_time(db, 14 * 24 * 3600)
    phone = make_client(app)
    await log_in(phone, ada.email)

    assert len((await phone.get(SESSIONS)).json()) == 1


async def test_user_can_revoke_one_session(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory, ada: PublicUser
) -> None:
    phone = make_client(app)
    await log_in(phone, ada.email)
    other = next(s for s in (await signed_in.get(SESSIONS)).json() if not s["current"])

    assert (await signed_in.delete(f"{SESSIONS}/{other['id']}")).status_code == 204
    assert (await phone.get(ME)).status_code == 401
    assert (await phone.post("/api/v1/auth/refresh")).status_code == 401
    assert (await signed_in.get(ME)).status_code == 200
    assert (await signed_in.delete(f"{SESSIONS}/{other['id']}")).status_code == 404


async def test_session_of_another_user_is_not_found(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory
) -> None:
    await add_user(app, "bob@example.com")
    bob = make_client(app)
    await log_in(bob, "bob@example.com")
    (bobs,) = (await bob.get(SESSIONS)).json()

    for unknown in (bobs["id"], uuid.uuid4()):
        response = await signed_in.delete(f"{SESSIONS}/{unknown}")
        assert response.status_code == 404
        assert response.json()["type"] == "/problems/session-not-found"
    assert (await bob.get(ME)).status_code == 200


async def test_invalid_session_id_is_rejected_and_not_echoed(signed_in: httpx.AsyncClient) -> None:
    response = await signed_in.delete(f"{SESSIONS}/zzz")

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"loc": ["path", "session_id"], "msg": "Value is not valid", "type": "uuid_parsing"}
    ]


async def test_user_can_revoke_all_other_sessions(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory, ada: PublicUser
) -> None:
    others = [make_client(app) for _ in range(3)]
    for other in others:
        await log_in(other, ada.email)

    response = await signed_in.delete(SESSIONS)
    assert response.status_code == 204
    assert "content-type" not in response.headers  # there is no content
    assert [(await other.get(ME)).status_code for other in others] == [401] * 3
    assert len((await signed_in.get(SESSIONS)).json()) == 1


async def test_logins_delete_sessions_that_were_revoked_long_ago(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    make_client: ClientFactory,
    ada: PublicUser,
    db: asyncpg.Connection,
) -> None:
    count = "SELECT count(*) FROM sessions"
    for _ in range(4):
        await log_in(signed_in, ada.email)  # revokes the session before
    assert await db.fetchval(count) == 5
    await advance_time(db, 15 * 60)
    await log_in(signed_in, ada.email)
    # An access token of theirs might still be valid if a clock is behind.
    assert await db.fetchval(count) == 6
    await advance_time(db, 60)
    other = await add_user(app, "bob@example.com")
    await log_in(make_client(app), other.email)
    assert await db.fetchval(count) == 7
    await log_in(signed_in, ada.email)

    # The sessions of Ada's last three logins and Bob's session.
    assert await db.fetchval(count) == 4
    assert await db.fetchval("SELECT count(*) FROM refresh_tokens") == 4
