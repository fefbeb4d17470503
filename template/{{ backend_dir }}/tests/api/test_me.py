import base64
import json
import time
import uuid
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.core.settings import PROJECT_SLUG
from tests.conftest import SECRET, AppFactory, ClientFactory, add_user, cookie, log_in, set_cookie

ME = "/api/v1/users/me"
# Arguments of `forge`.
FORGERIES: list[dict[str, Any]] = [
    {"key": "another-key-of-at-least-32-bytes-length"},
    {"header": {"alg": "HS512"}},
    {"header": {"alg": "none"}, "key": ""},
    {"header": {"typ": "JWT"}},
    {"header": {"typ": None}},
    {"header": {"kid": "unknown"}},
    {"header": {"kid": None}},
    {"header": {"kid": "x", "jku": "https://evil.test/keys", "jwk": {"kty": "oct", "k": "eA"}}},
    {"exp": None},
    {"exp": 1_000_000_000},
    {"exp": "soon"},
    {"iat": None},
    {"iat": 2**33},
    {"iat": "now"},
    {"iss": None},
    {"iss": "someone-else"},
    {"aud": None},
    {"aud": "someone-else"},
    {"sub": None},
    {"sub": str(uuid.UUID(int=1))},
    {"sub": "ada"},
    {"sid": None},
    {"sid": str(uuid.UUID(int=1))},
    {"sid": 7},
    {"jti": None},
]


def forge(token: str, *, key: str = SECRET, **changes: Any) -> str:
    """Sign an access token again with another key, header or claims. None removes a claim."""
    header = jwt.get_unverified_header(token) | changes.pop("header", {})
    claims = jwt.decode(token, options={"verify_signature": False}) | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    header = {name: value for name, value in header.items() if value is not None}
    return jwt.encode(claims, key, header.pop("alg"), header)


async def test_request_without_a_session_is_rejected(client: httpx.AsyncClient) -> None:
    response = await client.get(ME)

    assert response.status_code == 401
    assert response.json()["type"] == "/problems/not-signed-in"
    assert response.headers["cache-control"] == "no-store"


async def test_access_token_signed_again_without_changes_is_accepted(
    signed_in: httpx.AsyncClient,
) -> None:
    set_cookie(signed_in, "access", forge(cookie(signed_in, "access")))

    assert (await signed_in.get(ME)).status_code == 200


async def test_forged_access_token_is_rejected(
    signed_in: httpx.AsyncClient, subtests: pytest.Subtests
) -> None:
    genuine = cookie(signed_in, "access")
    for change in FORGERIES:
        with subtests.test(str(change)):
            set_cookie(signed_in, "access", forge(genuine, **change))

            assert (await signed_in.get(ME)).status_code == 401


@pytest.mark.parametrize("token", ["a.b.c", "a", "...", "é", "e30.e30.", "x" * 5000])
async def test_value_that_is_not_a_jwt_is_rejected(client: httpx.AsyncClient, token: str) -> None:
    headers = [(b"cookie", f"__Host-access={token}".encode())]

    assert (await client.get(ME, headers=headers)).status_code == 401


async def test_tampered_access_token_is_rejected(signed_in: httpx.AsyncClient) -> None:
    head, body, signature = cookie(signed_in, "access").split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"exp": 2**40}).encode()).decode()
    set_cookie(signed_in, "access", ".".join([head, forged.rstrip("="), signature]))

    assert (await signed_in.get(ME)).status_code == 401


async def test_access_token_from_a_clock_slightly_ahead_is_accepted(
    signed_in: httpx.AsyncClient,
) -> None:
    set_cookie(signed_in, "access", forge(cookie(signed_in, "access"), iat=int(time.time()) + 20))

    assert (await signed_in.get(ME)).status_code == 200


async def test_access_token_contains_no_personal_data(signed_in: httpx.AsyncClient) -> None:
    token = cookie(signed_in, "access")
    claims = jwt.decode(token, options={"verify_signature": False})

    assert set(claims) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp"}
    assert claims["iss"] == PROJECT_SLUG
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"


async def test_access_and_refresh_tokens_are_not_interchangeable(
    signed_in: httpx.AsyncClient,
) -> None:
    access, refresh = cookie(signed_in, "access"), cookie(signed_in, "refresh")
    set_cookie(signed_in, "access", refresh)
    set_cookie(signed_in, "refresh", access)

    assert (await signed_in.get(ME)).status_code == 401
    assert (await signed_in.post("/api/v1/auth/refresh")).status_code == 401


async def test_tokens_outside_cookies_are_ignored(signed_in: httpx.AsyncClient) -> None:
    token = cookie(signed_in, "access")
    signed_in.cookies.clear()

    assert (
        await signed_in.get(ME, headers={"authorization": f"Bearer {token}"})
    ).status_code == 401
    assert (await signed_in.get(ME, params={"access": token})).status_code == 401


async def test_previous_secret_verifies_tokens_but_does_not_sign_them(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    new = "the-new-one-of-three-deploys-0123456789"
    async with make_app() as old_app:
        await add_user(old_app, "ada@example.com")
        old = make_client(old_app)
        await log_in(old, "ada@example.com")
    async with make_app(jwt_secret=new, jwt_previous_secrets=SECRET) as app:
        client = make_client(app, cookies=dict(old.cookies))
        assert (await client.get(ME)).status_code == 200
        fresh = make_client(app)
        await log_in(fresh, "ada@example.com")
    async with make_app(jwt_secret=new) as app:
        assert (await make_client(app, cookies=dict(fresh.cookies)).get(ME)).status_code == 200
        assert (await make_client(app, cookies=dict(old.cookies)).get(ME)).status_code == 401


async def test_session_is_committed_before_the_response(
    app: FastAPI, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    await add_user(app, "ada@example.com")
    committed = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def note_sessions(message: Message) -> None:
            if message["type"] == "http.response.start":
                committed.append(await db.fetchval("SELECT count(*) FROM sessions"))
            await send(message)

        await app(scope, receive, note_sessions)

    await log_in(make_client(watched), "ada@example.com")
    await log_in(make_client(watched), "ada@example.com")

    assert committed == [1, 2]
