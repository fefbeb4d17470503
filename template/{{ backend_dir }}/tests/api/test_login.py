import unicodedata
from http.cookies import SimpleCookie
from typing import Literal

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from passlib.context import CryptContext

from app.core import security
from app.services.users import PublicUser
from tests.conftest import PASSWORD, AppFactory, ClientFactory, add_user, cookie, log_in

ME = "/api/v1/users/me"


async def test_login_returns_the_user_and_sets_three_cookies(
    client: httpx.AsyncClient, ada: PublicUser
) -> None:
    response = await log_in(client, "ada@example.com")

    assert response.status_code == 200
    assert response.json() == {
        "id": str(ada.id),
        "email": "ada@example.com",
        "email_verified": False,
        "is_active": True,
        "role": "user",
        "created_at": ada.created_at.isoformat().replace("+00:00", "Z"),
    }
    assert len(response.headers.get_list("set-cookie")) == 3
    assert (await client.get(ME)).json() == response.json()


@pytest.mark.parametrize(
    ("settings", "prefix"),
    [
        ({}, "__Host-"),
        ({"cookie_name_prefix": "shop"}, "__Host-shop-"),
        ({"cookie_domain": "api.test"}, "__Secure-"),
        ({"cookie_secure": False, "cookie_samesite": "lax"}, ""),
    ],
)
async def test_cookies_have_the_names_and_attributes_of_the_settings(
    make_app: AppFactory, make_client: ClientFactory, settings: dict[str, object], prefix: str
) -> None:
    async with make_app(**settings) as app:
        await add_user(app, "ada@example.com")
        response = await log_in(make_client(app), "ada@example.com")

        cookies = SimpleCookie()
        for line in response.headers.get_list("set-cookie"):
            cookies.load(line)
            assert len(line) <= 4096
        assert set(cookies) == {f"{prefix}access", f"{prefix}refresh", f"{prefix}device"}
        for morsel in cookies.values():
            assert morsel["httponly"]
            assert bool(morsel["secure"]) is settings.get("cookie_secure", True)
            assert morsel["samesite"] == app.state.settings.cookie_samesite
            assert morsel["path"] == "/"
            assert morsel["domain"] == settings.get("cookie_domain", "")
        assert int(cookies[f"{prefix}access"]["max-age"]) == 900
        assert int(cookies[f"{prefix}refresh"]["max-age"]) == 14 * 24 * 3600


async def test_tokens_are_sent_in_cookies_only(client: httpx.AsyncClient, ada: PublicUser) -> None:
    response = await log_in(client, ada.email)
    rest = response.text + str([h for h in response.headers.raw if h[0].lower() != b"set-cookie"])

    assert cookie(client, "access") not in rest
    assert cookie(client, "refresh") not in rest


@pytest.mark.parametrize(
    "email", ["nobody@example.com", "ada@example.com", "idle@example.com", "@"]
)
async def test_all_failed_logins_get_the_same_response(
    app: FastAPI, client: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection, email: str
) -> None:
    await add_user(app, "idle@example.com")
    await db.execute("UPDATE users SET is_active = false WHERE email = 'idle@example.com'")
    password = PASSWORD if email.startswith("idle") else "a wrong passphrase"

    response = await log_in(client, email, password, headers={"x-request-id": "same"})

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Cookie"
    assert "set-cookie" not in response.headers
    assert response.json() == {
        "type": "/problems/invalid-credentials",
        "title": "Wrong credentials",
        "status": 401,
        "detail": "Email or password is wrong.",
        "request_id": "same",
    }


@pytest.mark.parametrize("email", ["ADA@Example.com", "  ada@example.com ", "ada@EXAMPLE.com"])
async def test_login_ignores_case_and_whitespace_in_the_email(
    client: httpx.AsyncClient, ada: PublicUser, email: str
) -> None:
    assert (await log_in(client, email)).status_code == 200


@pytest.mark.parametrize(
    "password", ["🔑" * 64, "  spaces around  ", "x" * 100], ids=["emoji", "spaces", "long"]
)
async def test_login_accepts_any_text_and_compares_the_whole_password(
    app: FastAPI, client: httpx.AsyncClient, password: str
) -> None:
    await add_user(app, "bob@example.com", password)

    assert (await log_in(client, "bob@example.com", password[:-1])).status_code == 401
    assert (await log_in(client, "bob@example.com", password)).status_code == 200


@pytest.mark.parametrize("password", ["nul\0inside", "x" * 1025, ""], ids=["nul", "long", "none"])
async def test_login_rejects_an_impossible_password_as_invalid(
    client: httpx.AsyncClient, ada: PublicUser, password: str
) -> None:
    response = await log_in(client, ada.email, password)

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "password"]


async def test_login_does_not_require_the_minimum_password_length(
    app: FastAPI, client: httpx.AsyncClient, ada: PublicUser
) -> None:
    await add_user(app, "bob@example.com", "short")

    assert (await log_in(client, "bob@example.com", "wrong")).status_code == 401
    assert (await log_in(client, "bob@example.com", "short")).status_code == 200


@pytest.mark.parametrize("stored", ["!", "", "$2b$12$abc"])
async def test_login_fails_if_the_stored_value_is_not_a_hash(
    client: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection, stored: str
) -> None:
    await db.execute("UPDATE users SET password_hash = $1", stored)

    assert (await log_in(client, ada.email)).status_code == 401


@pytest.mark.parametrize("ident", ["2a", "2b", "2y"])  # older libraries, current libraries, PHP
async def test_a_plain_bcrypt_hash_is_replaced_at_login(
    client: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection, ident: str
) -> None:
    old = CryptContext(["bcrypt"], bcrypt__rounds=4, bcrypt__ident=ident).hash(PASSWORD)
    await db.execute("UPDATE users SET password_hash = $1", old)

    assert (await log_in(client, ada.email)).status_code == 200
    new = str(await db.fetchval("SELECT password_hash FROM users"))
    assert new.startswith("$bcrypt-sha256$")
    assert (await log_in(client, ada.email)).status_code == 200


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {"username": "ada@example.com", "password": PASSWORD}}, 415),
        ({"content": "username=a&password=b", "headers": {"content-type": "text/plain"}}, 415),
        ({"data": {"username": "ada@example.com"}}, 422),
        ({}, 422),
    ],
)
async def test_login_accepts_only_form_data(
    client: httpx.AsyncClient, ada: PublicUser, options: dict[str, object], status: int
) -> None:
    response = await client.post("/api/v1/auth/login", **options)  # type: ignore[arg-type]  # cases

    assert response.status_code == status


async def test_signing_in_again_revokes_the_old_session(
    signed_in: httpx.AsyncClient, app: FastAPI, make_client: ClientFactory, ada: PublicUser
) -> None:
    old = make_client(app, cookies=dict(signed_in.cookies))
    only_refresh = {k: v for k, v in signed_in.cookies.items() if k.endswith("refresh")}
    signed_in.cookies = httpx.Cookies(only_refresh)

    assert (await log_in(signed_in, ada.email)).status_code == 200
    assert (await old.get(ME)).status_code == 401
    assert (await old.post("/api/v1/auth/refresh")).status_code == 401
    assert (await signed_in.get(ME)).status_code == 200


async def test_failed_login_does_not_revoke_the_current_session(
    signed_in: httpx.AsyncClient, ada: PublicUser
) -> None:
    assert (await log_in(signed_in, ada.email, "a wrong passphrase")).status_code == 401
    assert (await signed_in.get(ME)).status_code == 200


async def test_signing_in_as_another_user_revokes_the_old_session(
    signed_in: httpx.AsyncClient, app: FastAPI, make_client: ClientFactory
) -> None:
    await add_user(app, "bob@example.com")
    old = make_client(app, cookies=dict(signed_in.cookies))

    assert (await log_in(signed_in, "bob@example.com")).json()["email"] == "bob@example.com"
    assert (await old.get(ME)).status_code == 401


async def test_login_does_not_adopt_a_planted_refresh_token(
    client: httpx.AsyncClient, ada: PublicUser
) -> None:
    client.cookies.set("__Host-refresh", "p" * 43, domain="api.test", path="/")
    await log_in(client, ada.email)

    assert cookie(client, "refresh") != "p" * 43


async def test_twenty_first_session_revokes_the_oldest(
    app: FastAPI, make_client: ClientFactory, ada: PublicUser
) -> None:
    browsers = [make_client(app) for _ in range(21)]
    for browser in browsers:
        await log_in(browser, ada.email)

    statuses = [(await browser.get(ME)).status_code for browser in browsers]
    assert statuses == [401] + [200] * 20


async def test_login_rechecks_a_hash_that_changes_during_verification(
    app: FastAPI, client: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection
) -> None:
    verify = app.state.hasher.verify
    other = await app.state.hasher.hash("another passphrase")

    async def change_meanwhile(
        password: str, hashed: str | None, *_: object
    ) -> tuple[bool, str | None]:
        result: tuple[bool, str | None] = await verify(password, hashed)
        await db.execute("UPDATE users SET password_hash = $1", other)
        return result

    app.state.hasher.verify = change_meanwhile

    assert (await log_in(client, ada.email)).status_code == 401
    assert await db.fetchval("SELECT count(*) FROM sessions") == 0


async def test_a_user_deactivated_during_login_gets_no_session(
    app: FastAPI, client: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection
) -> None:
    verify = app.state.hasher.verify

    async def deactivate_meanwhile(
        password: str, hashed: str | None, *_: object
    ) -> tuple[bool, str | None]:
        await db.execute("UPDATE users SET is_active = false")
        result: tuple[bool, str | None] = await verify(password, hashed)
        return result

    app.state.hasher.verify = deactivate_meanwhile

    assert (await log_in(client, ada.email)).status_code == 401
    assert await db.fetchval("SELECT count(*) FROM sessions") == 0


@pytest.mark.parametrize("charset", ["utf-8", "unicode_escape", "utf-7"])
async def test_multipart_login_is_rejected(
    client: httpx.AsyncClient, ada: PublicUser, charset: str
) -> None:
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = part.format("username", "\\ud800@x") + part.format("password", PASSWORD) + "--x--\r\n"
    headers = {"content-type": f"multipart/form-data; boundary=x; charset={charset}"}

    response = await client.post("/api/v1/auth/login", content=body.encode(), headers=headers)
    assert response.status_code == 415


async def test_a_long_crafted_username_is_never_normalized(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Normalizing combining marks in the wrong order takes quadratic time.
    username = "a" + "\u0300\u0316" * 15_000
    lengths = []
    normalize = unicodedata.normalize

    def normalize_and_record(form: Literal["NFC"], text: str) -> str:
        lengths.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", normalize_and_record)
    assert (await log_in(client, username)).status_code == 422
    assert (await log_in(client, username[:100])).status_code == 401
    assert lengths, "another function normalizes now: record the lengths there"
    assert max(lengths) < 200


async def test_login_rejected_as_busy_does_not_count_as_an_attempt(
    app: FastAPI, client: httpx.AsyncClient, ada: PublicUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "MAX_WAITING", -100)
    statuses = [(await log_in(client, ada.email)).status_code for _ in range(7)]
    monkeypatch.undo()

    assert statuses == [503] * 7
    assert (await log_in(client, ada.email)).status_code == 200
