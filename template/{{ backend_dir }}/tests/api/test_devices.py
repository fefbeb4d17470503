import time
import uuid

import asyncpg
import httpx
import jwt
import pytest
from fastapi import FastAPI

from app.core.devices import DEVICE_TTL_SECONDS, Device, DeviceTokens
from app.services.users import PublicUser
from tests.conftest import (
    PASSWORD,
    SECRET,
    AppFactory,
    ClientFactory,
    add_user,
    advance_time,
    cookie,
    log_in,
    raise_shared_count,
    settings_for,
)

ME = "/api/v1/users/me"
WRONG = "a wrong passphrase"


async def guess(client: httpx.AsyncClient, email: str, times: int) -> list[int]:
    return [(await log_in(client, email, WRONG)).status_code for _ in range(times)]


async def lock_out(
    app: FastAPI, make_client: ClientFactory, db: asyncpg.Connection, email: str
) -> None:
    """Use up all guesses that unknown devices have for an email."""
    for number in range(2):
        client = make_client(app, address=(f"198.51.100.{number}", 1))
        assert await guess(client, email, 1) == [401]
    await raise_shared_count(db, limits=1, attempts=100)
    unknown_device = make_client(app, address=("203.0.113.1", 1))
    assert (await log_in(unknown_device, email)).status_code == 429


async def test_guesses_from_other_devices_do_not_lock_out_a_known_device(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    make_client: ClientFactory,
    ada: PublicUser,
    db: asyncpg.Connection,
) -> None:
    await signed_in.post("/api/v1/auth/logout")
    await lock_out(app, make_client, db, ada.email)

    for _ in range(6):  # one more than the limit on guesses of a known device
        assert (await log_in(signed_in, ada.email)).status_code == 200


async def test_known_device_signs_in_from_an_address_that_is_over_its_limit(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    make_client: ClientFactory,
    ada: PublicUser,
    db: asyncpg.Connection,
) -> None:
    neighbor = make_client(app)
    for number in range(2):
        await guess(neighbor, f"user{number}@example.com", 1)
    await raise_shared_count(db, limits=1, attempts=50)

    assert (await log_in(make_client(app), ada.email)).status_code == 429
    assert (await log_in(signed_in, ada.email)).status_code == 200


async def test_guesses_on_a_known_device_are_limited(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    make_client: ClientFactory,
    ada: PublicUser,
    db: asyncpg.Connection,
) -> None:
    assert await guess(signed_in, ada.email, 6) == [401] * 5 + [429]
    # They do not count for other devices, known or unknown.
    assert (await log_in(make_client(app), ada.email)).status_code == 200
    await advance_time(db, 15 * 60)
    assert (await log_in(signed_in, ada.email)).status_code == 200


async def test_all_known_devices_of_an_account_have_a_limit_together(
    app: FastAPI, make_client: ClientFactory, ada: PublicUser, db: asyncpg.Connection
) -> None:
    tokens = DeviceTokens(app.state.settings)

    def on_new_device() -> httpx.AsyncClient:
        return make_client(app, cookies={"__Host-device": tokens.issue(Device.new(ada.id))})

    assert [await guess(on_new_device(), ada.email, 1) for _ in range(2)] == [[401]] * 2
    await raise_shared_count(db, limits=1, attempts=99)
    assert await guess(on_new_device(), ada.email, 1) == [401]
    assert (await log_in(on_new_device(), ada.email)).status_code == 429


async def test_device_of_another_user_is_an_unknown_device(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    make_client: ClientFactory,
    db: asyncpg.Connection,
) -> None:
    await add_user(app, "bob@example.com")
    await lock_out(app, make_client, db, "bob@example.com")

    assert (await log_in(signed_in, "bob@example.com")).status_code == 429


async def test_device_cookie_lasts_90_days_and_keeps_its_device(
    app: FastAPI, client: httpx.AsyncClient, ada: PublicUser
) -> None:
    response = await log_in(client, ada.email)
    (line,) = [it for it in response.headers.get_list("set-cookie") if "device" in it]
    assert f"Max-Age={90 * 24 * 3600}" in line
    assert "HttpOnly" in line
    first = app.state.cookies._devices.verify(cookie(client, "device"))
    await client.post("/api/v1/auth/logout")
    await log_in(client, ada.email)

    assert app.state.cookies._devices.verify(cookie(client, "device")) == first


async def test_device_cookie_does_not_authenticate(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory
) -> None:
    device = cookie(signed_in, "device")
    copied = make_client(app, cookies={"__Host-device": device})
    as_access = make_client(app, cookies={"__Host-access": device})
    as_refresh = make_client(app, cookies={"__Host-refresh": device})

    assert (await copied.get(ME)).status_code == 401
    assert (await as_access.get(ME)).status_code == 401
    assert (await as_refresh.post("/api/v1/auth/refresh")).status_code == 401


async def test_failed_login_and_sign_up_set_no_device_cookie(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app(signup_mode="open") as app:
        client = make_client(app)
        body = {"email": "ada@example.com", "password": PASSWORD}
        assert (await client.post("/api/v1/users", json=body)).status_code == 201
        await guess(client, "ada@example.com", 1)

        assert not list(client.cookies.jar)


def test_access_tokens_and_forged_device_tokens_are_rejected() -> None:
    tokens = DeviceTokens(settings_for("postgresql://localhost/test"))
    user = uuid.uuid4()
    claims = {"sub": str(user), "jti": "x", "exp": int(time.time()) + 60}
    right = tokens.issue(Device("x", user))
    assert tokens.verify(right) == Device("x", user)
    for forged in (
        None,
        "",
        "x",
        "a" * 5000,
        "\u00fc.\u00fc.\u00fc",
        right[:-2],
        jwt.encode(claims, SECRET, "HS256"),
        jwt.encode(claims, "", "none"),
        *(
            jwt.encode(wrong, tokens._keys[0], "HS256")
            for wrong in (
                {**claims, "exp": 1},
                {**claims, "sub": "not a uuid"},
                {**claims, "jti": 5},
                {"sub": claims["sub"], "exp": claims["exp"]},
            )
        ),
    ):
        assert tokens.verify(forged) is None


@pytest.mark.parametrize("value", ["x", "a.b.c", "%00", "\u00fc"])
async def test_login_with_a_malformed_device_cookie_works(
    client: httpx.AsyncClient, ada: PublicUser, value: str
) -> None:
    header = {"cookie": f"__Host-device={value}".encode()}
    assert (await log_in(client, ada.email, headers=header)).status_code == 200


async def test_device_is_known_during_a_secret_rotation(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    old, new = "the-old-secret-0123456789-abcdefghijkl", "the-new-secret-9876543210-zyxwvutsrqpo"
    async with make_app(jwt_secret=old) as app:
        user = await add_user(app, "ada@example.com")
        client = make_client(app)
        await log_in(client, user.email)
        device = cookie(client, "device")

    rotated = DeviceTokens(
        settings_for("postgresql://localhost/test").model_copy(
            update={"jwt_secret": _secret(new), "jwt_previous_secrets": (_secret(old),)}
        )
    )
    known = rotated.verify(device)
    assert known is not None
    assert known.user_id == user.id


def _secret(text: str) -> object:
    from pydantic import SecretStr

    return SecretStr(text)


def test_device_is_forgotten_after_its_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = DeviceTokens(settings_for("postgresql://localhost/test"))
    device = Device.new(uuid.uuid4())
    now = time.time()
    monkeypatch.setattr("app.core.devices.time.time", lambda: now - DEVICE_TTL_SECONDS - 1)
    expired = tokens.issue(device)
    monkeypatch.setattr("app.core.devices.time.time", lambda: now - DEVICE_TTL_SECONDS + 60)
    still_valid = tokens.issue(device)
    monkeypatch.undo()

    assert tokens.verify(expired) is None
    assert tokens.verify(still_valid) == device
