from typing import cast

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from starlette.types import Message

from tests.conftest import ORIGIN, AppFactory, ClientFactory, add_user, log_in

UNSAFE = ["/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/auth/logout", "/api/v1/users"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test", "sec-fetch-site": "cross-site"},
        {"origin": "https://other.example.com", "sec-fetch-site": "same-site"},
        {"origin": "https://app.example.com.evil.test"},
        {"origin": "http://app.example.com"},
        {"origin": "https://app.example.com:8443"},
        {"origin": "http://api.test"},
        {"origin": "null"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
async def test_cross_site_request_is_rejected_and_changes_nothing(
    signed_in: httpx.AsyncClient, headers: dict[str, str], subtests: pytest.Subtests
) -> None:
    for path in UNSAFE:
        with subtests.test(path):
            response = await signed_in.post(path, headers=headers)

            assert response.status_code == 403
            assert response.json()["type"] == "/problems/cross-site-request"
            assert "set-cookie" not in response.headers
            assert (await signed_in.get("/api/v1/users/me")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
        {"origin": "https://api.test", "sec-fetch-site": "same-origin"},
        {"origin": "null", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
    ids=str,
)
async def test_request_from_an_allowed_origin_is_accepted(
    signed_in: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await signed_in.post("/api/v1/auth/logout", headers=headers)).status_code == 204


@pytest.mark.parametrize(
    ("origin", "response"),
    [
        (ORIGIN, "websocket.accept"),
        ("https://api.test", "websocket.accept"),
        ("https://evil.test", "websocket.close"),
        ("null", "websocket.close"),
    ],
)
async def test_websocket_is_accepted_from_allowed_origins_only(
    app: FastAPI, origin: str, response: str
) -> None:
    @app.websocket("/socket")
    async def accept(socket: WebSocket) -> None:
        await socket.accept()

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    sent: list[str] = []
    headers = [(b"host", b"api.test"), (b"origin", origin.encode())]
    scope = {"type": "websocket", "path": "/socket", "query_string": b"", "headers": headers}
    await app(scope, receive, send)

    assert sent == [response]


async def test_request_with_two_origin_headers_is_rejected(signed_in: httpx.AsyncClient) -> None:
    headers = [("origin", ORIGIN), ("origin", "https://evil.test")]

    assert (await signed_in.post("/api/v1/auth/logout", headers=headers)).status_code == 403


async def test_own_origin_uses_http_if_cookies_are_not_secure(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app(cookie_secure=False, cookie_samesite="lax") as app:
        client = make_client(app)
        ours = await client.post("/api/v1/auth/logout", headers={"origin": "http://api.test"})
        others = await client.post("/api/v1/auth/logout", headers={"origin": "https://api.test"})

    assert (ours.status_code, others.status_code) == (204, 403)


@pytest.mark.parametrize("path", UNSAFE[:3])
async def test_get_on_auth_endpoints_is_rejected_and_changes_nothing(
    signed_in: httpx.AsyncClient, path: str
) -> None:
    response = await signed_in.get(path)

    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert (await signed_in.get("/api/v1/users/me")).status_code == 200


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "PUT",
        "access-control-request-headers": "content-type",
    }


async def test_preflight_request_from_an_allowed_origin_is_accepted(
    client: httpx.AsyncClient,
) -> None:
    response = await client.options("/api/v1/auth/login", headers=preflight(ORIGIN))

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-allow-credentials"] == "true"
    assert "PUT" in response.headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    "origin", ["https://evil.test", "null", "https://app.example.com.evil.test"]
)
async def test_an_unknown_origin_is_never_reflected(client: httpx.AsyncClient, origin: str) -> None:
    for response in (
        await client.options("/api/v1/auth/login", headers=preflight(origin)),
        await client.get("/health", headers={"origin": origin}),
    ):
        assert "access-control-allow-origin" not in response.headers
        assert "Origin" in response.headers["vary"]


@pytest.mark.parametrize(
    ("environment", "origin", "logged"),
    [
        ("local", "http://localhost:5174", ["http://localhost:5174"]),
        ("local", "https://UPPER.test:443", ["https://upper.test"]),
        ("local", ORIGIN, []),
        ("local", "https://api.test", []),
        ("local", "null", []),
        ("local", "https://x\u001b[31m", []),
        ("production", "http://localhost:5174", []),
    ],
)
async def test_rejected_origin_is_logged_with_a_hint_in_development(
    make_app: AppFactory,
    make_client: ClientFactory,
    caplog: pytest.LogCaptureFixture,
    environment: str,
    origin: str,
    logged: list[str],
) -> None:
    async with make_app(environment=environment) as app:
        client = make_client(app)
        for request in (
            client.options("/api/v1/users/me", headers=preflight(origin)),
            client.get("/health", headers={"origin": origin}),
            client.post("/api/v1/auth/logout", headers={"origin": origin}),
        ):
            await request
            hints = [cast("dict[str, str]", record.msg) for record in caplog.records]
            hints = [it for it in hints if it["event"] == "origin_not_allowed"]
            assert [it["origin"] for it in hints] == logged
            assert all("CORS_ORIGINS" in it["hint"] for it in hints)
            caplog.clear()


async def test_allowed_cross_site_origin_can_sign_in_with_samesite_none(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app(cookie_samesite="none") as app:
        await add_user(app, "ada@example.com")
        frontend = make_client(app, headers={"origin": ORIGIN, "sec-fetch-site": "cross-site"})
        response = await log_in(frontend, "ada@example.com")
        me = await frontend.get("/api/v1/users/me")

    assert all("SameSite=none; Secure" in c for c in response.headers.get_list("set-cookie"))
    for it in (response, me):
        assert it.status_code == 200
        assert it.headers["access-control-allow-origin"] == ORIGIN
        assert it.headers["access-control-allow-credentials"] == "true"
