import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from app.core.settings import PROJECT_SLUG
from tests.conftest import PASSWORD, AppFactory, ClientFactory, log_in

USERS = "/api/v1/users"


@pytest.fixture
async def open_client(
    make_app: AppFactory, make_client: ClientFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of an application on which anyone can sign up."""
    async with make_app(signup_mode="open") as app:
        yield make_client(app)


async def test_sign_up_is_disabled_by_default(client: httpx.AsyncClient) -> None:
    response = await client.post(USERS, json={"email": "ada@example.com", "password": PASSWORD})

    assert response.status_code == 403
    assert response.json()["type"] == "/problems/signup-disabled"


async def test_new_user_can_sign_in(open_client: httpx.AsyncClient) -> None:
    response = await open_client.post(
        USERS, json={"email": " Ada@Example.com", "password": PASSWORD}
    )

    assert response.status_code == 201
    assert response.json()["email"] == "ada@example.com"
    assert set(response.json()) == {
        "id",
        "email",
        "email_verified",
        "is_active",
        "role",
        "created_at",
    }
    assert (await log_in(open_client, "ada@example.com")).status_code == 200


async def test_email_is_unique_across_all_spellings(open_client: httpx.AsyncClient) -> None:
    spellings = ["é@example.com", "É@example.com", "e\u0301@example.com", " é@EXAMPLE.com "]
    requests = [{"email": email, "password": PASSWORD} for email in spellings]
    responses = await asyncio.gather(*(open_client.post(USERS, json=body) for body in requests))

    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409]


@pytest.mark.parametrize(
    "password",
    [
        "x7%kJ2 q9!mN4z",
        "ada.lovelace@example.com",
        "Ada.Lovelace@Example.com",
        "passwordpassword",
        "111111111111111",
        "qwertyuiopasdfgh",
        "Correct Horse Battery Staple",
        "nul \0 inside the password",
    ],
)
async def test_weak_password_is_rejected_and_not_echoed(
    open_client: httpx.AsyncClient, password: str
) -> None:
    response = await open_client.post(
        USERS, json={"email": "ada.lovelace@example.com", "password": password}
    )

    assert response.status_code == 422
    assert password not in response.text


async def test_project_name_is_rejected_as_a_password(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app(signup_mode="open", password_min_length=8) as app:
        body = {"email": "ada@example.com", "password": PROJECT_SLUG.upper().ljust(8)}
        response = await make_client(app).post(USERS, json=body)

    assert response.status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        b'{"email": "ada@example.com", "password": "\\ud800 lone surrogate"}',
        b'{"email": "\\ud800@example.com", "password": "a long enough passphrase"}',
        b'{"email": "nul\\u0000@example.com", "password": "a long enough passphrase"}',
        b'{"email": "no address", "password": "a long enough passphrase"}',
        b'{"email": 7, "password": ["a long enough passphrase"]}',
        b'{"email": {"a long enough passphrase": 1}}',
        b'["a long enough passphrase"]',
        b'"a long enough passphrase',
        b"\xff\xfe a long enough passphrase",
        b"",
    ],
)
async def test_invalid_body_is_rejected_and_not_echoed(
    open_client: httpx.AsyncClient, body: bytes
) -> None:
    headers = {"content-type": "application/json"}
    response = await open_client.post(USERS, content=body, headers=headers)

    assert response.status_code == 422
    assert "passphrase" not in response.text
    assert response.headers["content-type"] == "application/problem+json"


async def test_other_media_types_are_rejected(open_client: httpx.AsyncClient) -> None:
    response = await open_client.post(USERS, content=b"x", headers={"content-type": "text/plain"})

    assert response.status_code == 415
