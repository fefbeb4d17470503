"""Changing and verifying the email address, and deleting the account."""

import asyncpg
import pytest

from app.models import Base
from tests.api.test_email_links import EMAIL, OpenSite, Site, newest_token, open_site
from tests.conftest import PASSWORD, ClientFactory, add_user, log_in, run_jobs

__all__ = ["open_site"]

NEW_EMAIL = "ada@new.example"


async def ask_for_change(site: Site, new_email: str = NEW_EMAIL, password: str = PASSWORD) -> int:
    """Ask for another address, let the jobs run, and return the status."""
    body = {"new_email": new_email, "current_password": password}
    response = await site[1].post("/api/v1/users/me/email", json=body)
    await run_jobs(site[0])
    return response.status_code


async def sign_in(site: Site) -> None:
    """Create Ada, and sign in."""
    await add_user(site[0], EMAIL)
    assert (await log_in(site[1], EMAIL)).status_code == 200


async def test_link_to_the_new_address_changes_it(
    open_site: OpenSite, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    async with open_site() as site:
        app, client, mailbox = site
        await sign_in(site)
        other = make_client(app)
        await log_in(other, EMAIL)
        assert await ask_for_change(site) == 202
        assert sorted(mailbox.recipients) == [EMAIL, NEW_EMAIL]
        mailbox.messages.sort(key=lambda it: it["To"] == NEW_EMAIL)

        response = await client.post("/api/v1/auth/email", json={"token": newest_token(site)})
        assert response.json()["email"] == NEW_EMAIL
        assert await db.fetchval("SELECT email_verified_at FROM users") is not None
        assert (await client.get("/api/v1/users/me")).status_code == 200
        assert (await other.get("/api/v1/users/me")).status_code == 401
        await run_jobs(app)
        assert mailbox.recipients[-1] == EMAIL


@pytest.mark.parametrize("when", ["before the request", "before the link is used"])
async def test_taken_address_does_not_show(
    open_site: OpenSite, db: asyncpg.Connection, when: str
) -> None:
    async with open_site() as site:
        await sign_in(site)
        if when == "before the request":
            await add_user(site[0], NEW_EMAIL)
        assert await ask_for_change(site) == 202
        if when == "before the request":
            assert site[2].recipients == [EMAIL]
            return
        await add_user(site[0], NEW_EMAIL)
        site[2].messages.sort(key=lambda it: it["To"] == NEW_EMAIL)
        response = await site[1].post("/api/v1/auth/email", json={"token": newest_token(site)})
        assert response.json()["type"] == "/problems/invalid-email-token"
        assert await db.fetchval("SELECT count(*) FROM users") == 2


async def test_change_needs_the_password(open_site: OpenSite) -> None:
    async with open_site() as site:
        await sign_in(site)
        assert await ask_for_change(site, password="wrong") == 422
        assert site[2].messages == []


async def test_verification_link_verifies_the_address(
    open_site: OpenSite, db: asyncpg.Connection
) -> None:
    async with open_site() as site:
        await sign_in(site)
        assert (await site[1].post("/api/v1/users/me/verification")).status_code == 202
        await run_jobs(site[0])
        token = newest_token(site)
        assert (await site[1].get("/api/v1/users/me")).status_code == 200
        assert (await site[1].post("/api/v1/auth/email", json={"token": token})).status_code == 200
        assert (await site[1].post("/api/v1/auth/email", json={"token": token})).status_code == 422
        assert await db.fetchval("SELECT email_verified_at FROM users") is not None
        assert (await site[1].get("/api/v1/users/me")).status_code == 200


async def test_deleted_account_leaves_nothing(open_site: OpenSite, db: asyncpg.Connection) -> None:
    async with open_site() as site:
        app, client, mailbox = site
        await sign_in(site)
        body = {"current_password": "wrong"}
        url = "/api/v1/users/me"
        assert (await client.request("DELETE", url, json=body)).status_code == 422
        body = {"current_password": PASSWORD}
        response = await client.request("DELETE", url, json=body)
        assert response.status_code == 204
        assert not client.cookies.get("__Host-access")
        await run_jobs(app)
        assert mailbox.recipients == [EMAIL]
        for table in Base.metadata.tables:
            if table != "attempt_counts":
                assert await db.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608
