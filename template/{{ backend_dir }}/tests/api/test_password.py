from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.services.users import PublicUser
from tests.conftest import PASSWORD, ClientFactory, cookie, log_in

ME = "/api/v1/users/me"
CHANGE = "/api/v1/users/me/password"
NEW = "another long passphrase"


async def change(
    client: httpx.AsyncClient, current: str = PASSWORD, new: str = NEW
) -> httpx.Response:
    return await client.put(CHANGE, json={"current_password": current, "new_password": new})


async def test_password_change_revokes_all_sessions_and_creates_a_new_one(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory, ada: PublicUser
) -> None:
    phone = make_client(app)
    await log_in(phone, ada.email)
    old_cookies = make_client(app, cookies=dict(signed_in.cookies))

    response = await change(signed_in)

    assert response.status_code == 204
    assert (await signed_in.get(ME)).status_code == 200
    for revoked in (phone, old_cookies):
        assert (await revoked.get(ME)).status_code == 401
        rejected = await revoked.post("/api/v1/auth/refresh")
        assert rejected.json()["type"] == "/problems/session-over"  # and not reuse
        assert "set-cookie" not in rejected.headers
    assert (await signed_in.post("/api/v1/auth/refresh")).status_code == 204


async def test_only_the_new_password_signs_in(
    signed_in: httpx.AsyncClient, ada: PublicUser
) -> None:
    await change(signed_in)

    assert (await log_in(signed_in, ada.email, PASSWORD)).status_code == 401
    assert (await log_in(signed_in, ada.email, NEW)).status_code == 200


async def test_password_change_requires_the_current_password(signed_in: httpx.AsyncClient) -> None:
    before = cookie(signed_in, "refresh")
    response = await change(signed_in, current="a wrong passphrase")

    assert response.status_code == 422
    assert response.json()["type"] == "/problems/wrong-password"
    assert "set-cookie" not in response.headers
    assert cookie(signed_in, "refresh") == before
    assert (await signed_in.get(ME)).status_code == 200


async def test_password_change_rejects_an_unacceptable_new_password(
    signed_in: httpx.AsyncClient,
) -> None:
    response = await change(signed_in, new="too short")

    assert response.status_code == 422
    assert response.json()["type"] == "/problems/unacceptable-password"


async def test_password_change_requires_authentication(client: httpx.AsyncClient) -> None:
    assert (await change(client)).status_code == 401


@pytest.mark.parametrize(
    ("meanwhile", "status"),
    [
        ("UPDATE sessions SET revoked_at = now()", 401),
        ("UPDATE sessions SET expires_at = now()", 401),
        ("UPDATE users SET is_active = false", 401),
        ("UPDATE users SET password_hash = $1", 204),
        ("UPDATE users SET password_hash = $2", 422),
    ],
    ids=[
        "session revoked",
        "session expired",
        "user disabled",
        "hash upgraded",
        "password changed",
    ],
)
async def test_password_change_respects_what_changed_during_verification(
    app: FastAPI, signed_in: httpx.AsyncClient, db: asyncpg.Connection, meanwhile: str, status: int
) -> None:
    hasher = app.state.hasher
    hashes = {"$1": await hasher.hash(PASSWORD), "$2": await hasher.hash("someone else's words")}
    (argument,) = [hashes[name] for name in hashes if name in meanwhile] or [None]
    verify = hasher.verify
    done: list[bool] = []

    async def verify_and_change(
        password: str, stored: str | None, *_: object
    ) -> tuple[bool, str | None]:
        result: tuple[bool, str | None] = await verify(password, stored)
        if not done:
            done.append(True)
            statement = meanwhile.replace("$2", "$1")
            await db.execute(statement, *([argument] if argument else []))
        return result

    hasher.verify = verify_and_change

    assert (await change(signed_in)).status_code == status


@pytest.mark.parametrize(
    "moment", ["before the hash is read", "before it is checked", "while it is checked"]
)
async def test_concurrent_password_change_is_rejected_and_not_counted(
    app: FastAPI, signed_in: httpx.AsyncClient, db: asyncpg.Connection, moment: str
) -> None:
    new_hash = await app.state.hasher.hash(NEW)

    async def change_meanwhile() -> None:
        await db.execute("UPDATE sessions SET revoked_at = now()")
        await db.execute("UPDATE users SET password_hash = $1", new_hash)

    target, name = {
        "before the hash is read": (app.state.rate_limiter, "check"),
        "before it is checked": (app.state.rate_limiter, "hit"),
        "while it is checked": (app.state.hasher, "verify"),
    }[moment]
    original = getattr(target, name)

    async def run_and_change(*args: Any) -> Any:
        result = await original(*args)
        await change_meanwhile()
        return result

    setattr(target, name, run_and_change)
    response = await change(signed_in)

    assert response.status_code == 401
    assert response.json()["type"] == "/problems/not-signed-in"
    # Only the successful login is counted.
    assert await db.fetchval("SELECT sum(attempts) FROM attempt_counts") == 1
