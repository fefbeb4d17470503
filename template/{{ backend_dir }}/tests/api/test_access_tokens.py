"""Personal access tokens: programs use the API with them, as far as no session is necessary."""

import json
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from hashlib import sha256
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CurrentUser, require_role
from app.core.emails import normalize_email
from app.core.personal_tokens import generate_personal_token
from app.core.roles import Role
from app.core.settings import PROJECT_SLUG
from app.services import administration
from app.services.purging import purge
from app.services.users import PublicUser
from tests.conftest import (
    ORIGIN,
    PASSWORD,
    AppFactory,
    ClientFactory,
    add_user,
    advance_time,
    cookie,
    log_in,
    run_jobs,
    set_cookie,
)
from tests.mailbox import Mailbox

ME = "/api/v1/users/me"
TOKENS = f"{ME}/tokens"
NOTES = "/api/v1/notes"
EMAIL = normalize_email("ada@example.com")
DAY = 24 * 3600
INVALID = 'Bearer error="invalid_token"'
UNKNOWN = "00000000-0000-0000-0000-000000000001"
NEED_A_SESSION = [
    ("PUT", f"{ME}/password"),
    ("POST", f"{ME}/email"),
    ("POST", f"{ME}/verification"),
    ("DELETE", ME),
    ("GET", f"{ME}/sessions"),
    ("DELETE", f"{ME}/sessions"),
    ("DELETE", f"{ME}/sessions/{UNKNOWN}"),
    ("POST", TOKENS),
    ("GET", TOKENS),
    ("DELETE", TOKENS),
    ("DELETE", f"{TOKENS}/{UNKNOWN}"),
    ("GET", "/api/v1/admin/users"),
    ("PATCH", f"/api/v1/admin/users/{UNKNOWN}"),
    ("GET", "/api/v1/admin/audit-events"),
]


@pytest.fixture
async def app(make_app: AppFactory) -> AsyncIterator[FastAPI]:
    """Return an application with tokens, and with endpoints like those that a team writes."""
    async with make_app(access_tokens_enabled=True) as app:

        @app.get(NOTES)
        @app.post(NOTES)
        async def notes(user: CurrentUser) -> str:
            return user.email

        yield app


@pytest.fixture
def program(app: FastAPI, make_client: ClientFactory) -> httpx.AsyncClient:
    """Return a client without cookies."""
    return make_client(app)


async def create(client: httpx.AsyncClient, *scopes: str, days: int = 30) -> dict[str, Any]:
    """Create a token and return the response. scopes: without one, all."""
    body = {"name": "CI", "scopes": scopes or ("read", "write"), "expires_in_days": days}
    response = await client.post(TOKENS, json=body)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def bearer(created: dict[str, Any] | str) -> dict[str, str]:
    """Return the header of a request with a token."""
    token = created if isinstance(created, str) else created["token"]
    return {"authorization": f"Bearer {token}"}


@contextmanager
def statements(app: FastAPI) -> Iterator[list[str]]:
    """Collect the statements that the application sends to the database."""
    sent: list[str] = []

    def remember(*values: Any) -> None:
        sent.append(values[2])

    engine = app.state.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", remember)
    yield sent
    event.remove(engine, "before_cursor_execute", remember)


async def test_token_is_shown_once_and_stored_as_a_hash(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    created = await create(signed_in, "write", "read")
    token = created.pop("token")
    listed = (await signed_in.get(TOKENS)).json()

    assert re.fullmatch(rf"{PROJECT_SLUG}_pat_[0-9a-f]{{72}}", token)
    assert zlib.crc32(token[:-8].encode()) == int(token[-8:], 16)
    assert created["scopes"] == ["read", "write"]
    assert listed == {"items": [created], "next_cursor": None}
    (row,) = await db.fetch("SELECT * FROM personal_access_tokens")
    assert row["token_hash"] == sha256(token.encode()).digest()
    assert token not in str(dict(row))


async def test_token_authenticates_without_cookies_and_sets_none(
    signed_in: httpx.AsyncClient, program: httpx.AsyncClient
) -> None:
    token = (await create(signed_in))["token"]
    for header in (f"Bearer {token}", f"bearer  {token}"):
        response = await program.get(ME, headers={"authorization": header})

        assert response.json()["email"] == EMAIL
        assert "set-cookie" not in response.headers
        assert response.headers["cache-control"] == "no-store"
    assert (await program.post(NOTES, headers=bearer(token))).json() == EMAIL


@pytest.mark.parametrize(
    ("scope", "method", "lacks"),
    [
        ("read", "GET", None),
        ("read", "POST", "write"),
        ("write", "POST", None),
        ("write", "GET", "read"),
    ],
)
async def test_scope_allows_only_its_methods(
    signed_in: httpx.AsyncClient,
    program: httpx.AsyncClient,
    scope: str,
    method: str,
    lacks: str | None,
) -> None:
    token = await create(signed_in, scope)
    response = await program.request(method, NOTES, headers=bearer(token))

    assert response.status_code == (403 if lacks else 200)
    if lacks:
        assert response.json()["type"] == "/problems/insufficient-scope"
        challenge = f'Bearer error="insufficient_scope", scope="{lacks}"'
        assert response.headers["www-authenticate"] == challenge


async def test_malformed_token_is_rejected_without_a_query(
    app: FastAPI, signed_in: httpx.AsyncClient, program: httpx.AsyncClient
) -> None:
    token = (await create(signed_in))["token"]
    wrong_digit = token[:-1] + ("0" if token[-1] != "0" else "1")
    with statements(app) as sent:
        for text in ("", "x", wrong_digit, token + "0", token.upper(), cookie(signed_in, "access")):
            response = await program.get(ME, headers=bearer(text))
            assert response.json()["type"] == "/problems/invalid-token", text
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == INVALID

    assert sent == []
    assert (await program.get(ME, headers=bearer(generate_personal_token()))).status_code == 401


@pytest.mark.parametrize(("method", "path"), NEED_A_SESSION)
async def test_token_is_no_session(
    app: FastAPI,
    client: httpx.AsyncClient,
    program: httpx.AsyncClient,
    db: asyncpg.Connection,
    method: str,
    path: str,
) -> None:
    await add_user(app, EMAIL, role=Role.ADMIN)
    await log_in(client, EMAIL)
    token = await create(client)
    body: dict[str, str] | None = None if method == "GET" else {}
    response = await program.request(method, path, headers=bearer(token), json=body)

    assert response.status_code == 401
    assert response.json()["type"] == "/problems/not-signed-in"
    assert await db.fetchval("SELECT count(*) FROM personal_access_tokens") == 1


async def test_cookie_of_a_session_takes_precedence_over_a_token(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory
) -> None:
    token = bearer(await create(signed_in))
    bob = make_client(app)
    await add_user(app, "bob@example.com")
    await log_in(bob, "bob@example.com")

    assert (await bob.post(NOTES, headers=token)).json() == "bob@example.com"
    stranger = {"origin": "https://evil.example", **token}
    assert (await bob.post(NOTES, headers=stranger)).status_code == 403
    for value in ("x", ""):
        set_cookie(bob, "access", value)
        response = await bob.get(ME, headers=token)
        assert response.json()["type"] == "/problems/not-signed-in"
    bob.cookies.delete("__Host-access")
    assert (await bob.get(ME, headers=token)).json()["type"] == "/problems/not-signed-in"


async def test_token_without_cookies_needs_no_check_of_the_origin(
    signed_in: httpx.AsyncClient, program: httpx.AsyncClient
) -> None:
    token = bearer(await create(signed_in))
    stranger = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}

    assert (await program.post(NOTES, headers=token | stranger)).json() == "ada@example.com"
    basic = {"authorization": "Basic YWRhOng="}  # which a browser adds by itself
    for headers in (stranger, basic | stranger, token | stranger | {"cookie": "theme=dark"}):
        response = await program.post(NOTES, headers=headers)
        assert response.json()["type"] == "/problems/cross-site-request"


async def test_page_in_a_browser_cannot_send_a_token(program: httpx.AsyncClient) -> None:
    preflight = {
        "origin": ORIGIN,
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization",
    }
    assert (await program.options(ME, headers=preflight)).status_code == 400


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_without_the_setting_there_are_no_tokens(
    make_app: AppFactory, make_client: ClientFactory, signed_in: httpx.AsyncClient, method: str
) -> None:
    token = bearer(await create(signed_in))
    async with make_app() as app:
        client = make_client(app)
        response = await client.get(ME, headers=token)
        assert response.json()["type"] == "/problems/not-signed-in"
        assert response.headers["www-authenticate"] == "Cookie"
        stranger = {"origin": "https://evil.example"}
        assert (
            await client.post("/api/v1/auth/logout", headers=token | stranger)
        ).status_code == 403
        for cookies in ({}, dict(signed_in.cookies)):
            client = make_client(app, cookies=cookies)
            response = await client.request(method, TOKENS)
            assert response.status_code == 404
            assert response.json()["type"] == "/problems/not-found"


async def test_token_expires_after_a_year_at_most(
    app: FastAPI, signed_in: httpx.AsyncClient, program: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    token = await create(signed_in, days=365)
    await advance_time(db, 365 * DAY - 60)
    assert (await program.get(ME, headers=bearer(token))).status_code == 200
    await advance_time(db, 60)

    assert (await program.get(ME, headers=bearer(token))).status_code == 401
    async with app.state.database.sessions() as session:
        assert (await purge(session, app.state.settings)).personal_tokens == 1


@pytest.mark.parametrize(
    "change",
    [
        {"name": " "},
        {"name": "a\0"},
        {"name": "\ud800"},
        {"name": "x" * 101},
        {"scopes": []},
        {"scopes": ["admin"]},
        {"expires_in_days": 0},
        {"expires_in_days": 366},
        {"expires_in_days": None},
    ],
)
async def test_invalid_token_is_not_created(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection, change: dict[str, Any]
) -> None:
    body = {"name": "CI", "scopes": ["read"], "expires_in_days": 1} | change

    # httpx cannot encode a lone surrogate, which JSON can contain as an escape sequence.
    headers = {"content-type": "application/json"}
    response = await signed_in.post(TOKENS, content=json.dumps(body), headers=headers)
    assert response.status_code == 422
    assert await db.fetchval("SELECT count(*) FROM personal_access_tokens") == 0


async def test_user_has_at_most_fifty_active_tokens(
    signed_in: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection
) -> None:
    await db.execute(
        "INSERT INTO personal_access_tokens (user_id, name, scopes, token_hash, expires_at) "
        "SELECT $1, n, ARRAY['read'], sha256(n::text::bytea), "
        "clock_timestamp() + make_interval(days => n) FROM generate_series(0, 49) n",
        ada.id,
    )
    await create(signed_in)
    body = {"name": "CI", "scopes": ["read"], "expires_in_days": 1}
    response = await signed_in.post(TOKENS, json=body)

    assert response.status_code == 409
    assert response.json()["type"] == "/problems/too-many-tokens"
    first = (await signed_in.get(TOKENS, params={"limit": 30})).json()
    second = (await signed_in.get(TOKENS, params={"cursor": first["next_cursor"]})).json()
    names = [item["name"] for page in (first, second) for item in page["items"]]
    assert sorted(names) == sorted(["CI", *map(str, range(1, 50))])
    assert second["next_cursor"] is None


async def test_user_can_revoke_own_tokens(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    program: httpx.AsyncClient,
    make_client: ClientFactory,
) -> None:
    first, second, third = [await create(signed_in) for _ in range(3)]
    bob = make_client(app)
    await add_user(app, "bob@example.com")
    await log_in(bob, "bob@example.com")
    other = await create(bob)

    assert (await bob.delete(f"{TOKENS}/{first['id']}")).status_code == 404
    assert (await signed_in.delete(f"{TOKENS}/{first['id']}")).status_code == 204
    assert (await signed_in.delete(f"{TOKENS}/{first['id']}")).status_code == 404
    assert (await program.get(ME, headers=bearer(first))).status_code == 401
    assert (await program.get(ME, headers=bearer(second))).status_code == 200
    assert (await signed_in.delete(TOKENS)).status_code == 204
    for token in (second, third):
        assert (await program.get(ME, headers=bearer(token))).status_code == 401
    assert (await program.get(ME, headers=bearer(other))).status_code == 200


async def change_password(client: httpx.AsyncClient, _app: FastAPI) -> None:
    body = {"current_password": PASSWORD, "new_password": "another long passphrase"}
    assert (await client.put(f"{ME}/password", json=body)).status_code == 204


async def delete_account(client: httpx.AsyncClient, _app: FastAPI) -> None:
    body = {"current_password": PASSWORD}
    assert (await client.request("DELETE", ME, json=body)).status_code == 204


def command(
    run: Callable[[AsyncSession, FastAPI], Awaitable[object]],
) -> Callable[[httpx.AsyncClient, FastAPI], Awaitable[None]]:
    """Return a function that does what a command of `python -m app` does."""

    async def do(_client: httpx.AsyncClient, app: FastAPI) -> None:
        async with app.state.database.sessions() as db:
            await run(db, app)

    return do


async def end_every_session(client: httpx.AsyncClient, app: FastAPI) -> None:
    await client.post("/api/v1/auth/logout")
    await command(lambda db, _: administration.revoke_all_sessions(db))(client, app)


@pytest.mark.parametrize(
    "revoke",
    [
        change_password,
        delete_account,
        command(lambda db, _: administration.replace_password(db, EMAIL, "")),
        command(lambda db, _: administration.revoke_sessions_of(db, EMAIL)),
        command(lambda db, _: administration.deactivate_user(db, EMAIL)),
        end_every_session,
    ],
    ids=[
        "password",
        "deletion",
        "set-password",
        "end-sessions",
        "deactivation",
        "end-sessions --all",
    ],
)
async def test_token_ends_with_all_other_access(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    program: httpx.AsyncClient,
    db: asyncpg.Connection,
    revoke: Callable[[httpx.AsyncClient, FastAPI], Awaitable[None]],
) -> None:
    token = await create(signed_in)
    await revoke(signed_in, app)

    assert (await program.get(ME, headers=bearer(token))).status_code == 401
    assert await db.fetchval("SELECT count(*) FROM personal_access_tokens") == 0


async def test_token_of_a_deactivated_user_is_rejected(
    signed_in: httpx.AsyncClient, program: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    token = await create(signed_in)
    await db.execute("UPDATE users SET is_active = false")

    assert (await program.get(ME, headers=bearer(token))).status_code == 401


async def test_use_is_noted_once_an_hour_and_costs_one_query_otherwise(
    app: FastAPI, signed_in: httpx.AsyncClient, program: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    async def last_used() -> str:
        return str((await signed_in.get(TOKENS)).json()["items"][0]["last_used_at"])

    token = await create(signed_in)
    assert await last_used() == "None"
    await program.get(ME, headers=bearer(token))
    first = await last_used()
    with statements(app) as sent:
        await program.get(ME, headers=bearer(token))

    assert len(sent) == 1
    assert await last_used() == first
    await advance_time(db, 3600)
    await program.get(ME, headers=bearer(token))
    assert (await last_used()) > first


async def test_token_works_although_its_use_cannot_be_noted(
    app: FastAPI, signed_in: httpx.AsyncClient, program: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    token = await create(signed_in)
    slots = app.state.database.lock_slots
    async with AsyncExitStack() as taken:
        while not slots.locked():
            await taken.enter_async_context(slots)
        assert (await program.get(ME, headers=bearer(token))).status_code == 200

    name = await db.fetchval("SELECT current_database()")
    await db.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        await app.state.database.engine.dispose()
        assert (await program.get(ME, headers=bearer(token))).status_code == 200
    finally:
        await db.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await app.state.database.engine.dispose()


async def test_endpoint_with_a_user_and_a_role_costs_one_query(
    app: FastAPI, admin: httpx.AsyncClient
) -> None:
    @app.get("/reports", dependencies=[Depends(require_role(Role.ADMIN))])
    async def read_reports(_user: CurrentUser) -> None:
        """Stand for an endpoint of a team."""

    with statements(app) as sent:
        assert (await admin.get("/reports")).status_code == 200

    assert len(sent) == 1


async def test_tokens_are_logged_by_their_id_only(
    signed_in: httpx.AsyncClient,
    program: httpx.AsyncClient,
    ada: PublicUser,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    created = await create(signed_in)
    await program.get(ME, headers=bearer(created))
    await signed_in.delete(f"{TOKENS}/{created['id']}")
    await program.get(ME, headers=bearer(created))

    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    events = [line for line in lines if line["event"].startswith("personal_token_")]
    assert [line["event"] for line in events] == [
        "personal_token_created",
        "personal_token_revoked",
    ]
    assert {(line["user_id"], line["token_id"]) for line in events} == {
        (str(ada.id), created["id"])
    }
    used = [line for line in lines if line["event"] == "request" and line["route"] == ME]
    assert [(line["status"], line["user_id"]) for line in used] == [(200, str(ada.id)), (401, None)]
    assert [line.get("token_id") for line in used] == [created["id"], None]
    assert created["token"] not in caplog.text


async def test_user_is_told_of_a_new_token(
    make_mailing_app: AppFactory, make_client: ClientFactory, mailbox: Mailbox
) -> None:
    async with make_mailing_app(access_tokens_enabled=True) as app:
        client = make_client(app)
        await add_user(app, EMAIL)
        await log_in(client, EMAIL)
        token = (await create(client))["token"]
        await run_jobs(app)

    (message,) = mailbox.messages
    assert message["To"] == EMAIL
    assert "token was created" in message["Subject"]
    assert token not in message.as_string()


def test_document_offers_the_token_only_where_it_is_accepted(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    either: list[dict[str, list[str]]] = [{"AccessCookie": []}, {"PersonalAccessToken": []}]

    assert paths[ME]["get"]["security"] == either
    for method, path in NEED_A_SESSION:
        template = re.sub(f"users/{UNKNOWN}", "users/{user_id}", path)
        template = re.sub(f"sessions/{UNKNOWN}", "sessions/{session_id}", template)
        template = re.sub(f"tokens/{UNKNOWN}", "tokens/{token_id}", template)
        assert paths[template][method.lower()]["security"] == [{"AccessCookie": []}]
