"""Error responses, and the headers of all responses."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy import text

from app.api.deps import Db
from app.core import security
from app.services.users import PublicUser
from tests.conftest import (
    ORIGIN,
    AppFactory,
    ClientFactory,
    add_user,
    drop_connections,
    log_in,
)

# A statement takes about a millisecond. If it takes longer than this, it waits for something.
TIMEOUT = 2


def assert_well_formed(response: httpx.Response, status: int, name: str) -> None:
    """Check the common properties of all problem responses, as seen by a frontend."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-expose-headers"] == "X-Request-ID, Retry-After"
    body = response.json()
    assert body["type"] == f"/problems/{name}"
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]


@pytest.fixture
async def frontend(app: FastAPI, make_client: ClientFactory) -> httpx.AsyncClient:
    """Return a client that sends requests from the frontend's origin."""
    return make_client(app, headers={"origin": ORIGIN})


async def test_an_unknown_path_is_not_found(frontend: httpx.AsyncClient) -> None:
    assert_well_formed(await frontend.get("/nowhere"), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/health", "GET, HEAD"),
        ("PUT", "/api/v1/users/me", "GET, DELETE"),
        ("POST", "/api/v1/users/me/sessions", "GET, DELETE"),
        ("GET", f"/api/v1/users/me/sessions/{uuid.UUID(int=0)}", "DELETE"),
        ("GET", "/api/v1/users", "POST"),
        ("POST", "/docs", "GET"),
    ],
)
async def test_response_to_a_wrong_method_lists_the_allowed_methods(
    frontend: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await frontend.request(method, path)

    assert_well_formed(response, 405, "method-not-allowed")
    assert response.headers["allow"] == allowed


async def test_a_body_over_one_mebibyte_is_too_large(frontend: httpx.AsyncClient) -> None:
    response = await frontend.post("/api/v1/users", content=b"x" * (1024 * 1024 + 1))
    assert_well_formed(response, 413, "body-too-large")
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("length", ["9" * 5000, "1048577", "-1", "1e3", "²"])
async def test_invalid_or_large_content_length_is_rejected(
    frontend: httpx.AsyncClient, length: str
) -> None:
    headers = httpx.Headers([(b"content-length", length.encode("latin-1"))])
    response = await frontend.post("/api/v1/users", content=b"{}", headers=headers)

    assert_well_formed(response, 413, "body-too-large")


async def test_large_body_without_a_content_length_is_rejected(frontend: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 64 * 1024

    headers = {"content-type": "application/json"}
    response = await frontend.post("/api/v1/users", content=chunks(), headers=headers)

    assert_well_formed(response, 413, "body-too-large")


async def test_an_unreadable_form_is_invalid(frontend: httpx.AsyncClient) -> None:
    headers = {"content-type": "multipart/form-data"}
    response = await frontend.post("/api/v1/auth/login", content=b"x", headers=headers)

    assert_well_formed(response, 422, "invalid-request")


async def test_internal_error_does_not_reveal_details(
    app: FastAPI, frontend: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError("the inside")

    response = await frontend.get("/fault")

    assert_well_formed(response, 500, "internal")
    assert "the inside" not in response.text
    assert "internal_error" in caplog.text


async def test_invalid_sql_is_an_internal_error_and_not_an_outage(
    app: FastAPI, frontend: httpx.AsyncClient
) -> None:
    @app.get("/wrong")
    async def wrong(db: Db) -> None:
        await db.execute(text("SELECT nothing FROM nowhere"))

    assert_well_formed(await frontend.get("/wrong"), 500, "internal")


async def test_error_in_the_middle_of_a_response_aborts_it(
    app: FastAPI, frontend: httpx.AsyncClient
) -> None:
    from fastapi.responses import StreamingResponse

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("the rest")

        return StreamingResponse(chunks())

    with pytest.raises(RuntimeError, match="the rest"):
        await frontend.get("/half")


async def test_valid_request_id_is_kept(client: httpx.AsyncClient) -> None:
    response = await client.get("/health", headers={"x-request-id": "abc-1.2_3"})
    assert response.headers["x-request-id"] == "abc-1.2_3"


@pytest.mark.parametrize("request_id", ["", "with space", "x" * 129, "<script>"])
async def test_invalid_request_id_is_replaced(client: httpx.AsyncClient, request_id: str) -> None:
    response = await client.get("/health", headers={"x-request-id": request_id})
    assert response.headers["x-request-id"] not in ("", request_id)


async def test_production_sets_the_hsts_header(
    make_app: AppFactory, make_client: ClientFactory, client: httpx.AsyncClient
) -> None:
    async with make_app(environment="production") as app:
        response = await make_client(app).get("/health")
    assert response.headers["strict-transport-security"].startswith("max-age=31536000")
    assert "strict-transport-security" not in (await client.get("/health")).headers


async def test_endpoints_respond_with_503_while_the_database_is_unavailable(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app(database_url="postgresql://nobody@127.0.0.1:1/none") as app:
        frontend = make_client(app, headers={"origin": ORIGIN})
        frontend.cookies.set("__Host-refresh", "r" * 43, domain="api.test", path="/")
        for response in (
            await log_in(frontend, "ada@example.com"),
            await frontend.post("/api/v1/auth/refresh"),
            await frontend.post("/api/v1/auth/logout"),
        ):
            assert_well_formed(response, 503, "unavailable")
            assert response.headers["retry-after"] == "5"
            assert "set-cookie" not in response.headers
        assert (await frontend.get("/health")).status_code == 200


async def test_client_does_not_notice_a_dropped_database_connection(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    for path in ("/api/v1/users/me", "/api/v1/auth/refresh"):
        await drop_connections(db)
        response = await signed_in.request("POST" if "auth" in path else "GET", path)
        assert response.status_code in (200, 204)


@pytest.mark.slow
async def test_lock_that_is_held_too_long_causes_503(
    make_app: AppFactory, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    async with make_app(database_timeout_seconds=TIMEOUT) as app:
        await add_user(app, "ada@example.com")
        client = make_client(app, headers={"origin": ORIGIN})
        await log_in(client, "ada@example.com")
        async with db.transaction():
            await db.execute("SELECT id FROM users FOR UPDATE")
            assert_well_formed(await client.post("/api/v1/auth/refresh"), 503, "unavailable")
        assert (await client.post("/api/v1/auth/refresh")).status_code == 204


async def test_exhausted_connection_pool_causes_503_and_recovers(
    make_app: AppFactory, make_client: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_app(database_pool_size=1, database_max_overflow=0) as app:
        await add_user(app, "ada@example.com")
        client = make_client(app, headers={"origin": ORIGIN})
        engine = app.state.database.engine
        assert engine.pool.timeout() == app.state.settings.database_timeout_seconds
        async with engine.connect():
            with monkeypatch.context() as during_the_request:
                during_the_request.setattr(engine.pool, "_timeout", 0)
                assert_well_formed(await log_in(client, "ada@example.com"), 503, "unavailable")
        assert (await log_in(client, "ada@example.com")).status_code == 200


async def test_read_only_database_still_authenticates_users(
    signed_in: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection, test_database: str
) -> None:
    name = await db.fetchval("SELECT current_database()")
    await db.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        await drop_connections(db)
        assert (await signed_in.get("/api/v1/users/me")).status_code == 200
        assert (await log_in(signed_in, ada.email)).status_code == 503
        assert (await signed_in.post("/api/v1/auth/refresh")).status_code == 503
    finally:
        await db.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await drop_connections(db)


async def test_login_is_rejected_if_too_many_logins_wait(
    app: FastAPI, client: httpx.AsyncClient, ada: PublicUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "MAX_WAITING", -100)
    response = await log_in(client, ada.email, headers={"origin": ORIGIN})

    assert_well_formed(response, 503, "busy")


async def test_database_error_is_logged_without_parameters(
    app: FastAPI, frontend: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    value = "s3cret"

    @app.get("/fault")
    async def fault(db: Db) -> None:
        await db.execute(text("SELECT 1 / (length(:secret) - 6)"), {"secret": value})

    assert_well_formed(await frontend.get("/fault"), 500, "internal")
    assert "DivisionByZero" in caplog.text or "division by zero" in caplog.text
    assert value not in caplog.text


async def test_the_reason_of_an_outage_is_logged(
    make_app: AppFactory, make_client: ClientFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_app(database_url="postgresql://u:hunter2@127.0.0.1:1/none") as app:
        await log_in(make_client(app), "ada@example.com")

    assert "ConnectionRefusedError" in caplog.text
    assert "hunter2" not in caplog.text


async def test_no_redirect_repeats_the_host_header(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/v1/users/me/", headers={"host": "evil.test"})

    assert response.status_code == 404
    assert "location" not in response.headers


async def test_nonstandard_status_code_is_passed_on(
    app: FastAPI, frontend: httpx.AsyncClient
) -> None:
    @app.get("/odd")
    async def odd() -> None:
        raise HTTPException(499, "the client left")

    assert_well_formed(await frontend.get("/odd"), 499, "error")
