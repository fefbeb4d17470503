"""Changing and verifying the email address, and deleting the account."""

import asyncio

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.state import state_of
from app.models import Base, User
from app.services import account
from app.services.sessions.authentication import AuthContext
from app.services.users import PublicUser
from tests.api.test_email_links import EMAIL, INVALID, ME, NEW_PASSWORD, request_token, set_password
from tests.conftest import PASSWORD, ClientFactory, add_user, advance_time, log_in, run_jobs
from tests.mailbox import Mailbox

NEW_EMAIL = "ada@new.example"


@pytest.fixture
async def browser(mailing_app: FastAPI, make_client: ClientFactory) -> httpx.AsyncClient:
    """Return a client that is signed in as Ada to the application that sends mail."""
    browser = make_client(mailing_app)
    await add_user(mailing_app, EMAIL)
    assert (await log_in(browser, EMAIL)).status_code == 200
    return browser


@pytest.fixture
async def change_token(mailing_app: FastAPI, browser: httpx.AsyncClient, mailbox: Mailbox) -> str:
    """Return the token of a link that changes Ada's address."""
    assert (await request_change(browser)).status_code == 202
    await run_jobs(mailing_app)
    return mailbox.newest_token(NEW_EMAIL)


async def request_change(
    browser: httpx.AsyncClient, new_email: str = NEW_EMAIL, password: str = PASSWORD
) -> httpx.Response:
    """Request a link that changes the address."""
    body = {"new_email": new_email, "current_password": password}
    return await browser.post(f"{ME}/email", json=body)


async def set_email(browser: httpx.AsyncClient, token: str) -> httpx.Response:
    """Change or verify the address with the token of a link."""
    return await browser.post("/api/v1/auth/email", json={"token": token})


async def delete_account(browser: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    """Delete the account."""
    return await browser.request("DELETE", ME, json={"current_password": password})


async def test_link_to_the_new_address_changes_it(
    mailing_app: FastAPI,
    browser: httpx.AsyncClient,
    make_client: ClientFactory,
    mailbox: Mailbox,
    change_token: str,
) -> None:
    other = make_client(mailing_app)
    await log_in(other, EMAIL)
    assert sorted(mailbox.recipients) == [EMAIL, NEW_EMAIL]
    assert not (await browser.get(ME)).json()["email_verified"]

    response = await set_email(browser, change_token)

    assert response.status_code == 200
    assert response.json()["email"] == NEW_EMAIL
    assert response.json()["email_verified"]
    assert (await browser.get(ME)).json() == response.json()
    assert (await other.get(ME)).status_code == 401
    assert (await set_email(browser, change_token)).json()["type"] == INVALID


async def test_old_address_is_told_of_the_change(
    mailing_app: FastAPI, browser: httpx.AsyncClient, mailbox: Mailbox, change_token: str
) -> None:
    await set_email(browser, change_token)
    await run_jobs(mailing_app)
    assert [message["To"] for message in mailbox.messages if "#token" not in str(message)] == [
        EMAIL,
        EMAIL,
    ]


async def test_change_keeps_the_session_whose_access_token_has_expired(
    browser: httpx.AsyncClient, change_token: str
) -> None:
    browser.cookies.delete("__Host-access")
    assert (await set_email(browser, change_token)).status_code == 200
    assert (await browser.post("/api/v1/auth/refresh")).status_code == 204
    assert (await browser.get(ME)).json()["email"] == NEW_EMAIL


async def test_link_changes_the_address_on_a_device_that_is_not_signed_in(
    mailing_app: FastAPI, browser: httpx.AsyncClient, make_client: ClientFactory, change_token: str
) -> None:
    assert (await set_email(make_client(mailing_app), change_token)).status_code == 200
    assert (await browser.get(ME)).status_code == 401


async def test_request_for_a_taken_address_gets_the_same_response_and_no_link(
    mailing_app: FastAPI, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await add_user(mailing_app, NEW_EMAIL)
    assert (await request_change(browser)).status_code == 202
    await run_jobs(mailing_app)
    assert mailbox.recipients == [EMAIL]


async def test_link_to_an_address_that_was_taken_meanwhile_is_invalid(
    mailing_app: FastAPI, browser: httpx.AsyncClient, change_token: str
) -> None:
    await add_user(mailing_app, NEW_EMAIL)
    response = await set_email(browser, change_token)
    assert (response.status_code, response.json()["type"]) == (422, INVALID)
    assert (await browser.get(ME)).json()["email"] == EMAIL


async def test_change_needs_the_password(
    mailing_app: FastAPI, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    assert (await request_change(browser, password="wrong")).status_code == 422
    await run_jobs(mailing_app)
    assert mailbox.messages == []


async def test_correct_password_does_not_count_as_a_guess(browser: httpx.AsyncClient) -> None:
    found = [(await request_change(browser, password="wrong")).status_code for _ in range(4)]
    found.append((await request_change(browser)).status_code)
    found += [(await request_change(browser, password="wrong")).status_code for _ in range(2)]
    assert found == [422] * 4 + [202, 422, 429]


async def test_second_change_invalidates_the_link_of_the_first(
    mailing_app: FastAPI, browser: httpx.AsyncClient, mailbox: Mailbox, change_token: str
) -> None:
    assert (await request_change(browser, "ada@other.example")).status_code == 202
    await run_jobs(mailing_app)
    assert (await set_email(browser, change_token)).json()["type"] == INVALID
    token = mailbox.newest_token("ada@other.example")
    assert (await set_email(browser, token)).json()["email"] == "ada@other.example"


async def test_link_of_one_user_does_not_invalidate_that_of_another(
    mailing_app: FastAPI, make_client: ClientFactory, browser: httpx.AsyncClient, change_token: str
) -> None:
    await add_user(mailing_app, "grace@example.com")
    grace = make_client(mailing_app)
    await log_in(grace, "grace@example.com")
    assert (await request_change(grace)).status_code == 202
    await run_jobs(mailing_app)

    assert (await set_email(browser, change_token)).status_code == 200


async def test_change_of_the_address_invalidates_the_reset_link_to_the_old_one(
    mailing_app: FastAPI, make_client: ClientFactory, mailbox: Mailbox, change_token: str
) -> None:
    client = make_client(mailing_app)
    token = await request_token(mailing_app, client, mailbox)
    assert (await set_email(client, change_token)).status_code == 200

    assert (await set_password(client, token)).json()["type"] == INVALID


async def test_links_of_different_kinds_do_not_invalidate_each_other(
    mailing_app: FastAPI, make_client: ClientFactory, mailbox: Mailbox, change_token: str
) -> None:
    client = make_client(mailing_app)
    await request_token(mailing_app, client, mailbox)
    assert (await set_email(client, change_token)).status_code == 200


async def test_changes_that_a_user_requests_are_limited(
    mailing_app: FastAPI, browser: httpx.AsyncClient, make_client: ClientFactory
) -> None:
    found = []
    for number in range(6):  # each from another client, to another address
        client = make_client(
            mailing_app, address=(f"198.51.100.{number}", 1), cookies=browser.cookies
        )
        found.append((await request_change(client, f"ada@{number}.example")).status_code)
    assert found == [202] * 5 + [429]


async def test_verification_after_a_change_goes_to_the_new_address(
    mailing_app: FastAPI, browser: httpx.AsyncClient, mailbox: Mailbox, db: asyncpg.Connection
) -> None:
    # The session is checked before the address changes.
    row = await db.fetchrow("SELECT users.*, sessions.id AS session_id FROM users, sessions")
    assert row
    user = PublicUser(
        id=row["id"],
        email=EMAIL,
        email_verified=False,
        is_active=True,
        role="user",
        created_at=row["created_at"],
    )
    await db.execute("UPDATE users SET email = $1", NEW_EMAIL)
    auth = AuthContext(user, row["session_id"])
    await account.request_verification(state_of(mailing_app), auth, None)
    await run_jobs(mailing_app)
    assert mailbox.recipients == [NEW_EMAIL]


async def test_several_requests_and_a_deletion_at_once_leave_no_error(
    mailing_app: FastAPI, browser: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    responses = await asyncio.gather(
        *(browser.post(f"{ME}/verification") for _ in range(4)),
        delete_account(browser),
        *(browser.post(f"{ME}/verification") for _ in range(4)),
    )
    assert responses[4].status_code == 204
    assert {it.status_code for it in responses} <= {202, 204, 401, 429}
    assert await db.fetchval("SELECT count(*) FROM email_tokens") == 0


async def test_one_of_several_links_that_are_requested_at_once_is_valid(
    browser: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    await asyncio.gather(*(browser.post(f"{ME}/verification") for _ in range(5)))
    assert await db.fetchval("SELECT count(*) FROM email_tokens WHERE used_at IS NULL") == 1


async def test_password_reset_invalidates_a_link_to_another_address(
    mailing_app: FastAPI, make_client: ClientFactory, mailbox: Mailbox, change_token: str
) -> None:
    browser = make_client(mailing_app)
    token = await request_token(mailing_app, browser, mailbox)
    assert (await set_password(browser, token)).status_code == 200

    assert (await set_email(browser, change_token)).json()["type"] == INVALID


async def test_password_change_stops_a_link_to_another_address_that_waits_to_be_sent(
    mailing_app: FastAPI, browser: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    assert (await request_change(browser)).status_code == 202
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await browser.put(f"{ME}/password", json=body)).status_code == 204
    await run_jobs(mailing_app)

    assert set(mailbox.recipients) == {EMAIL}


async def test_deactivated_user_receives_no_link(
    mailing_app: FastAPI, browser: httpx.AsyncClient, mailbox: Mailbox, db: asyncpg.Connection
) -> None:
    assert (await browser.post(f"{ME}/verification")).status_code == 202
    await db.execute("UPDATE users SET is_active = false")
    await run_jobs(mailing_app)
    assert mailbox.messages == []


async def test_link_is_invalid_after_its_user_was_deactivated(
    browser: httpx.AsyncClient, change_token: str, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE users SET is_active = false")
    assert (await set_email(browser, change_token)).json()["type"] == INVALID


async def test_link_expires_after_a_day(
    browser: httpx.AsyncClient, change_token: str, db: asyncpg.Connection
) -> None:
    await advance_time(db, 24 * 3600)
    assert (await set_email(browser, change_token)).json()["type"] == INVALID


async def test_link_to_change_the_address_sets_no_password(
    browser: httpx.AsyncClient, change_token: str
) -> None:
    assert (await set_password(browser, change_token)).json()["type"] == INVALID


async def test_verification_link_verifies_the_address_and_keeps_all_sessions(
    mailing_app: FastAPI, browser: httpx.AsyncClient, make_client: ClientFactory, mailbox: Mailbox
) -> None:
    other = make_client(mailing_app)
    await log_in(other, EMAIL)
    assert (await browser.post(f"{ME}/verification")).status_code == 202
    await run_jobs(mailing_app)
    assert mailbox.recipients == [EMAIL]

    response = await set_email(browser, mailbox.newest_token(EMAIL))

    assert response.json()["email_verified"]
    assert (await browser.get(ME)).json()["email_verified"]
    assert (await other.get(ME)).status_code == 200


async def test_messages_that_a_signed_in_user_requests_are_limited(
    browser: httpx.AsyncClient,
) -> None:
    found = [(await browser.post(f"{ME}/verification")).status_code for _ in range(6)]
    assert found == [202] * 5 + [429]


@pytest.mark.parametrize("path", ["verification", "email"])
async def test_without_an_smtp_server_the_response_is_503(
    signed_in: httpx.AsyncClient, path: str
) -> None:
    body = {"new_email": NEW_EMAIL, "current_password": PASSWORD}
    response = await signed_in.post(f"{ME}/{path}", json=body)
    assert (response.status_code, response.json()["type"]) == (503, "/problems/mail-not-configured")


async def test_deleted_account_leaves_nothing(
    mailing_app: FastAPI, browser: httpx.AsyncClient, mailbox: Mailbox, db: asyncpg.Connection
) -> None:
    assert (await request_change(browser)).status_code == 202
    await db.execute(
        "INSERT INTO email_tokens (purpose, email, expires_at) VALUES ('sign_up', $1, now())", EMAIL
    )
    assert (await delete_account(browser, "wrong")).status_code == 422
    response = await delete_account(browser)

    assert response.status_code == 204
    assert sorted(cookie.split("=")[0] for cookie in response.headers.get_list("set-cookie")) == [
        "__Host-access",
        "__Host-refresh",
    ]
    for table in Base.metadata.tables:
        if table != "attempt_counts":
            assert await db.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608
    await run_jobs(mailing_app)
    assert mailbox.recipients == [EMAIL] * 2
    assert any("deleted" in message["Subject"] for message in mailbox.messages)


async def test_account_can_be_deleted_without_an_smtp_server(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    assert (await delete_account(signed_in)).status_code == 204
    assert await db.fetchval("SELECT count(*) FROM users") == 0


async def test_failure_of_the_hook_keeps_the_account(
    browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_db: AsyncSession, _user: User) -> None:
        raise RuntimeError

    monkeypatch.setattr(account, "delete_dependents", fail)
    found = [(await delete_account(browser)).status_code for _ in range(6)]
    assert found == [500] * 6  # a correct password does not count as a guess
    assert (await browser.get(ME)).status_code == 200


async def test_hook_runs_before_the_user_is_deleted(
    browser: httpx.AsyncClient, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = []

    async def delete_files(session: AsyncSession, user: User) -> None:
        assert await session.get(User, user.id)
        deleted.append(user.email)

    monkeypatch.setattr(account, "delete_dependents", delete_files)
    assert (await delete_account(browser)).status_code == 204
    assert deleted == [EMAIL]
