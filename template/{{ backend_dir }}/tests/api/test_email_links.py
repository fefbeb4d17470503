import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from tests.conftest import (
    PASSWORD,
    AppFactory,
    ClientFactory,
    add_user,
    log_in,
    run_jobs,
)
from tests.mailbox import Mailbox

EMAIL = "ada@example.com"
NEW_PASSWORD = "another long passphrase"
Site = tuple[FastAPI, httpx.AsyncClient, Mailbox]
OpenSite = Callable[..., AbstractAsyncContextManager["Site"]]


@pytest.fixture
def open_site(make_app: AppFactory, make_client: ClientFactory, mailbox: Mailbox) -> OpenSite:
    """Return a function that opens an application that sends mail, with a client."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[Site]:
        mail = {"smtp_url": mailbox.url, "mail_from": "no-reply@example.com"}
        async with make_app(**mail, **settings) as app:
            yield app, make_client(app), mailbox

    return make


async def ask(site: Site, email: str = EMAIL) -> httpx.Response:
    """Ask for a link, and let the jobs run."""
    app, client, _ = site
    response = await client.post("/api/v1/auth/email-link", json={"email": email})
    await run_jobs(app)
    return response


async def set_password(site: Site, token: str, password: str = NEW_PASSWORD) -> httpx.Response:
    """Set a password with the token of a link."""
    body = {"token": token, "new_password": password}
    return await site[1].post("/api/v1/auth/password", json=body)


def newest_token(site: Site) -> str:
    """Return the token of the newest message."""
    body = site[2].messages[-1].get_body(("plain",))
    assert body
    found = re.search(r"#token=([\w-]{43})\b", body.get_content())
    assert found
    return found[1]


async def test_reset_link_sets_a_password_once(
    open_site: OpenSite, make_client: ClientFactory
) -> None:
    async with open_site() as site:
        app, client, mailbox = site
        await add_user(app, EMAIL)
        other = make_client(app)
        await log_in(other, EMAIL)
        assert (await ask(site)).status_code == 202
        assert mailbox.recipients == [EMAIL]
        token = newest_token(site)

        response = await set_password(site, token)
        assert response.status_code == 200
        assert response.json()["email"] == EMAIL
        assert (await client.get("/api/v1/users/me")).status_code == 200
        assert (await other.get("/api/v1/users/me")).status_code == 401

        assert (await set_password(site, token)).json()["type"] == "/problems/invalid-email-token"
        assert (await log_in(client, EMAIL, PASSWORD)).status_code == 401
        assert (await log_in(client, EMAIL, NEW_PASSWORD)).status_code == 200


async def test_sign_up_link_creates_a_verified_user(
    open_site: OpenSite, db: asyncpg.Connection
) -> None:
    async with open_site(signup_mode="email") as site:
        assert (await ask(site)).status_code == 202
        assert (await set_password(site, newest_token(site))).status_code == 200
        row = await db.fetchrow("SELECT email, email_verified_at FROM users")
        assert row["email"] == EMAIL
        assert row["email_verified_at"] is not None


async def test_unknown_or_deactivated_user_receives_nothing(
    open_site: OpenSite, db: asyncpg.Connection
) -> None:
    async with open_site() as site:
        assert (await ask(site)).status_code == 202
        await add_user(site[0], EMAIL)
        await db.execute("UPDATE users SET is_active = false")
        assert (await ask(site)).status_code == 202
        assert site[2].messages == []


async def test_new_link_invalidates_the_older_one(open_site: OpenSite) -> None:
    async with open_site() as site:
        await add_user(site[0], EMAIL)
        await ask(site)
        first = newest_token(site)
        await ask(site)
        assert (await set_password(site, first)).status_code == 422
        assert (await set_password(site, newest_token(site))).status_code == 200


async def test_expired_link_is_invalid(open_site: OpenSite, db: asyncpg.Connection) -> None:
    async with open_site() as site:
        await add_user(site[0], EMAIL)
        await ask(site)
        await db.execute("UPDATE email_tokens SET expires_at = now()")
        assert (await set_password(site, newest_token(site))).status_code == 422


async def test_rejected_password_does_not_use_up_the_link(open_site: OpenSite) -> None:
    async with open_site() as site:
        await add_user(site[0], EMAIL)
        await ask(site)
        token = newest_token(site)
        response = await set_password(site, token, "short")
        assert response.json()["type"] == "/problems/unacceptable-password"
        assert (await set_password(site, token)).status_code == 200


async def test_without_an_smtp_server_the_endpoint_says_so(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/auth/email-link", json={"email": EMAIL})
    assert (response.status_code, response.json()["type"]) == (503, "/problems/mail-not-configured")


async def test_no_token_is_stored_in_the_database(
    open_site: OpenSite, db: asyncpg.Connection
) -> None:
    async with open_site() as site:
        await add_user(site[0], EMAIL)
        await ask(site)
        token = newest_token(site)
        stored = await db.fetch("SELECT * FROM email_tokens")
        assert token not in repr(stored)
        payloads = await db.fetch("SELECT payload FROM pgqueuer.pgqueuer")
        assert token not in repr(payloads)


async def test_link_that_is_used_twice_at_once_works_once(open_site: OpenSite) -> None:
    async with open_site() as site:
        await add_user(site[0], EMAIL)
        await ask(site)
        token = newest_token(site)
        both = await asyncio.gather(*(set_password(site, token) for _ in range(2)))
        assert sorted(it.status_code for it in both) == [200, 422]


async def test_messages_to_one_address_are_limited(open_site: OpenSite) -> None:
    async with open_site() as site:
        body = {"email": EMAIL}
        found = [await site[1].post("/api/v1/auth/email-link", json=body) for _ in range(6)]
        assert [it.status_code for it in found] == [202] * 5 + [429]
