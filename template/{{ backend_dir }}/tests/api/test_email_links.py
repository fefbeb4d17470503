"""Links that are sent by mail: setting a password and creating an account with them."""

import asyncio

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.api.state import state_of
from app.core.emails import normalize_email
from app.services.administration import invite
from tests.conftest import (
    PASSWORD,
    AppFactory,
    ClientFactory,
    add_user,
    advance_time,
    cookie,
    log_in,
    raise_shared_count,
    run_jobs,
)
from tests.mailbox import Mailbox

EMAIL = "ada@example.com"
NEW_PASSWORD = "another long passphrase"
LINK, ME = "/api/v1/auth/email-link", "/api/v1/users/me"
INVALID = "/problems/invalid-email-token"


@pytest.fixture
def client(mailing_app: FastAPI, make_client: ClientFactory) -> httpx.AsyncClient:
    """Return a client of the application that sends mail."""
    return make_client(mailing_app)


@pytest.fixture
async def reset_token(mailing_app: FastAPI, client: httpx.AsyncClient, mailbox: Mailbox) -> str:
    """Create Ada, and return the token of a reset link."""
    await add_user(mailing_app, EMAIL)
    return await request_token(mailing_app, client, mailbox)


async def request_token(app: FastAPI, client: httpx.AsyncClient, mailbox: Mailbox) -> str:
    """Request a link, let the jobs run, and return the token of the link."""
    assert (await client.post(LINK, json={"email": EMAIL})).status_code == 202
    await run_jobs(app)
    return mailbox.newest_token(EMAIL)


async def set_password(
    client: httpx.AsyncClient, token: str, password: str = NEW_PASSWORD
) -> httpx.Response:
    """Set a password with the token of a link."""
    body = {"token": token, "new_password": password}
    return await client.post("/api/v1/auth/password", json=body)


async def test_reset_link_sets_a_password_once(
    mailing_app: FastAPI, make_client: ClientFactory, client: httpx.AsyncClient, reset_token: str
) -> None:
    other = make_client(mailing_app)
    await log_in(other, EMAIL)

    response = await set_password(client, reset_token)

    assert response.status_code == 200
    assert response.json()["email"] == EMAIL
    assert response.json()["email_verified"]
    assert (await client.get(ME)).status_code == 200
    assert (await other.get(ME)).status_code == 401
    assert (await set_password(client, reset_token)).json()["type"] == INVALID
    assert (await log_in(client, EMAIL, PASSWORD)).status_code == 401
    assert (await log_in(client, EMAIL, NEW_PASSWORD)).status_code == 200


async def test_user_is_told_that_the_password_was_reset(
    mailing_app: FastAPI, client: httpx.AsyncClient, mailbox: Mailbox, reset_token: str
) -> None:
    await set_password(client, reset_token)
    await run_jobs(mailing_app)

    assert "password" in mailbox.messages[-1]["Subject"]
    assert mailbox.recipients == [EMAIL, EMAIL]


async def test_setting_a_password_revokes_the_session_of_the_request(
    mailing_app: FastAPI, client: httpx.AsyncClient, reset_token: str, make_client: ClientFactory
) -> None:
    await add_user(mailing_app, "grace@example.com")
    await log_in(client, "grace@example.com")
    grace = make_client(mailing_app, cookies=client.cookies)

    assert (await set_password(client, reset_token)).status_code == 200

    assert (await grace.get(ME)).status_code == 401
    device = state_of(mailing_app).cookies._devices.verify(cookie(client, "device"))
    assert device is not None
    assert str(device.user_id) == (await client.get(ME)).json()["id"]
    assert (await client.get(ME)).json()["email"] == EMAIL


async def test_sign_up_link_creates_a_verified_user(
    make_mailing_app: AppFactory, make_client: ClientFactory, mailbox: Mailbox
) -> None:
    async with make_mailing_app(signup_mode="email") as app:
        client = make_client(app)
        token = await request_token(app, client, mailbox)
        response = await set_password(client, token)

        assert response.status_code == 200
        assert response.json()["email_verified"]
        assert (await client.get(ME)).json() == response.json()
        assert (await set_password(client, token)).json()["type"] == INVALID


async def test_sign_up_link_is_invalid_if_the_address_was_taken_meanwhile(
    make_mailing_app: AppFactory, make_client: ClientFactory, mailbox: Mailbox
) -> None:
    async with make_mailing_app(signup_mode="email") as app:
        client = make_client(app)
        token = await request_token(app, client, mailbox)
        await add_user(app, EMAIL)

        assert (await set_password(client, token)).json()["type"] == INVALID
        assert (await log_in(client, EMAIL)).status_code == 200


async def test_account_cannot_be_created_without_a_link(
    make_mailing_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_mailing_app(signup_mode="email") as app:
        body = {"email": EMAIL, "password": NEW_PASSWORD}
        assert (await make_client(app).post("/api/v1/users", json=body)).status_code == 403


async def test_invited_address_receives_a_sign_up_link(
    mailing_app: FastAPI, client: httpx.AsyncClient, mailbox: Mailbox, db: asyncpg.Connection
) -> None:
    async with mailing_app.state.database.sessions() as session:
        await invite(session, mailing_app.state.settings, normalize_email(EMAIL))
    await run_jobs(mailing_app)

    response = await set_password(client, mailbox.newest_token(EMAIL))
    assert response.json()["email"] == EMAIL


@pytest.mark.parametrize("mode", ["closed", "open"])
async def test_unknown_address_receives_nothing_unless_users_sign_up_by_mail(
    make_mailing_app: AppFactory, make_client: ClientFactory, mailbox: Mailbox, mode: str
) -> None:
    async with make_mailing_app(signup_mode=mode) as app:
        assert (await make_client(app).post(LINK, json={"email": EMAIL})).status_code == 202
        await run_jobs(app)
    assert mailbox.messages == []


async def test_deactivated_user_receives_nothing(
    mailing_app: FastAPI, client: httpx.AsyncClient, mailbox: Mailbox, db: asyncpg.Connection
) -> None:
    await add_user(mailing_app, EMAIL)
    await db.execute("UPDATE users SET is_active = false")
    assert (await client.post(LINK, json={"email": EMAIL})).status_code == 202
    await run_jobs(mailing_app)
    assert mailbox.messages == []


async def test_link_is_invalid_after_its_user_was_deactivated(
    client: httpx.AsyncClient, reset_token: str, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE users SET is_active = false")
    assert (await set_password(client, reset_token)).json()["type"] == INVALID


async def test_all_addresses_get_the_same_response(
    mailing_app: FastAPI, client: httpx.AsyncClient
) -> None:
    await add_user(mailing_app, EMAIL)
    known, unknown = [
        await client.post(LINK, json={"email": email}) for email in (EMAIL, "nobody@example.com")
    ]
    known.headers.pop("x-request-id")
    unknown.headers.pop("x-request-id")
    assert (known.status_code, known.content) == (202, b"")
    assert (known.headers, known.content) == (unknown.headers, unknown.content)


async def test_new_sign_up_link_invalidates_the_older_one(
    make_mailing_app: AppFactory, make_client: ClientFactory, mailbox: Mailbox
) -> None:
    async with make_mailing_app(signup_mode="email") as app:
        client = make_client(app)
        older, newer = [await request_token(app, client, mailbox) for _ in range(2)]
        assert (await set_password(client, older)).json()["type"] == INVALID
        assert (await set_password(client, newer)).status_code == 200


@pytest.mark.parametrize("mode", ["closed", "email"])
async def test_one_of_several_links_that_are_sent_at_once_is_valid(
    make_mailing_app: AppFactory, make_client: ClientFactory, db: asyncpg.Connection, mode: str
) -> None:
    async with make_mailing_app(signup_mode=mode) as app:
        if mode == "closed":
            await add_user(app, EMAIL)
        for _ in range(5):
            await make_client(app).post(LINK, json={"email": EMAIL})
        await run_jobs(app)
    assert await db.fetchval("SELECT count(*) FROM email_tokens") == 5
    assert await db.fetchval("SELECT count(*) FROM email_tokens WHERE used_at IS NULL") == 1


async def test_new_link_invalidates_the_older_one(
    mailing_app: FastAPI, client: httpx.AsyncClient, mailbox: Mailbox, reset_token: str
) -> None:
    newer = await request_token(mailing_app, client, mailbox)
    assert (await set_password(client, reset_token)).json()["type"] == INVALID
    assert (await set_password(client, newer)).status_code == 200


async def test_password_change_invalidates_the_reset_link(
    mailing_app: FastAPI, make_client: ClientFactory, reset_token: str
) -> None:
    client = make_client(mailing_app)
    await log_in(client, EMAIL)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await client.put(f"{ME}/password", json=body)).status_code == 204

    assert (await set_password(client, reset_token)).json()["type"] == INVALID


@pytest.mark.parametrize(
    ("mode", "minutes"), [("closed", 30), ("email", 24 * 60)], ids=["reset", "sign-up"]
)
async def test_link_expires(
    make_mailing_app: AppFactory,
    make_client: ClientFactory,
    mailbox: Mailbox,
    db: asyncpg.Connection,
    mode: str,
    minutes: int,
) -> None:
    async with make_mailing_app(signup_mode=mode) as app:
        client = make_client(app)
        if mode == "closed":
            await add_user(app, EMAIL)
        token = await request_token(app, client, mailbox)

        await advance_time(db, minutes * 60 - 120)
        response = await set_password(client, token, "short")
        assert response.json()["type"] == "/problems/unacceptable-password"
        await advance_time(db, 120)
        assert (await set_password(client, token)).json()["type"] == INVALID


async def test_rejected_password_does_not_use_up_the_link(
    client: httpx.AsyncClient, reset_token: str
) -> None:
    response = await set_password(client, reset_token, "short")
    assert response.json()["type"] == "/problems/unacceptable-password"
    assert (await set_password(client, reset_token)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_mail_scanner_that_opens_the_link_changes_nothing(
    client: httpx.AsyncClient, reset_token: str, method: str
) -> None:
    for path in ("password", "email"):
        params = {"token": reset_token}
        response = await client.request(method, f"/api/v1/auth/{path}", params=params)
        assert response.status_code == 405
    assert (await set_password(client, reset_token)).status_code == 200


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "ä" * 43, "a" * 44])
async def test_unknown_token_is_invalid(client: httpx.AsyncClient, token: str) -> None:
    response = await set_password(client, token)
    assert (response.status_code, response.json()["type"]) == (422, INVALID)


async def test_reset_link_does_not_change_the_address(
    client: httpx.AsyncClient, reset_token: str
) -> None:
    response = await client.post("/api/v1/auth/email", json={"token": reset_token})
    assert response.json()["type"] == INVALID
    assert (await set_password(client, reset_token)).status_code == 200


async def test_without_an_smtp_server_the_response_is_503(
    app: FastAPI, make_client: ClientFactory
) -> None:
    response = await make_client(app).post(LINK, json={"email": EMAIL})
    assert (response.status_code, response.json()["type"]) == (503, "/problems/mail-not-configured")


async def test_no_token_is_stored(reset_token: str, db: asyncpg.Connection) -> None:
    assert reset_token not in repr(await db.fetch("SELECT * FROM email_tokens"))
    assert reset_token not in repr(await db.fetch("SELECT * FROM pgqueuer.pgqueuer"))
    assert reset_token not in repr(await db.fetch("SELECT * FROM pgqueuer.pgqueuer_log"))


async def test_link_that_is_used_twice_at_once_works_once(
    client: httpx.AsyncClient, reset_token: str
) -> None:
    responses = await asyncio.gather(*(set_password(client, reset_token) for _ in range(5)))
    assert sorted(it.status_code for it in responses) == [200, 422, 422, 422, 422]


async def test_messages_to_one_address_are_limited(client: httpx.AsyncClient) -> None:
    found = [await client.post(LINK, json={"email": EMAIL}) for _ in range(6)]
    assert [it.status_code for it in found] == [202] * 5 + [429]


async def test_request_over_the_limit_does_not_wait_for_a_lock(
    client: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    for _ in range(5):
        await client.post(LINK, json={"email": EMAIL})
    async with db.transaction():
        await db.execute("SELECT FROM attempt_counts FOR UPDATE")
        assert (await client.post(LINK, json={"email": EMAIL})).status_code == 429


async def test_messages_that_one_client_requests_are_limited(
    client: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    found = [await client.post(LINK, json={"email": f"{name}@example.com"}) for name in "ab"]
    await raise_shared_count(db, limits=1, attempts=19)
    found += [await client.post(LINK, json={"email": f"{name}@example.com"}) for name in "cd"]
    assert [it.status_code for it in found] == [202, 202, 202, 429]
