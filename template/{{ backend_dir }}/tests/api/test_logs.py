import subprocess
import sys
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import APIRouter, FastAPI

from app.services.rate_limits import IPV6_NETWORKS
from app.services.users import PublicUser
from tests.conftest import (
    PASSWORD,
    AppFactory,
    ClientFactory,
    add_user,
    advance_time,
    cookie,
    log_in,
    raise_shared_count,
    set_cookie,
)
from tests.processes import ROOT

ME = "/api/v1/users/me"


def own_events(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the events that the application itself has logged."""
    own = (record for record in caplog.records if record.name.startswith("app."))
    records = (record for record in own if not record.name.endswith("access_log"))
    return [record.msg for record in records if isinstance(record.msg, dict)]


async def test_session_events_are_logged_without_secrets(
    client: httpx.AsyncClient,
    ada: PublicUser,
    db: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    secrets = {PASSWORD, "typed by mistake", "another long passphrase"}

    await log_in(client, "typed by mistake", "typed by mistake")
    await log_in(client, ada.email, headers={"x-request-id": "req-1"})
    first = cookie(client, "refresh")
    secrets |= {first, cookie(client, "access")}
    await client.post("/api/v1/auth/refresh")
    secrets |= {cookie(client, "refresh"), cookie(client, "access")}
    await advance_time(db, 10)
    set_cookie(client, "refresh", first)
    await client.post("/api/v1/auth/refresh")
    await log_in(client, ada.email)
    await client.put(
        "/api/v1/users/me/password",
        json={"current_password": PASSWORD, "new_password": "another long passphrase"},
    )
    await client.post("/api/v1/auth/logout")
    for _ in range(6):
        await log_in(client, ada.email, "typed by mistake")

    events = own_events(caplog)
    assert [(event["event"], event["level"]) for event in events] == [
        ("login_failed", "info"),
        ("login_succeeded", "info"),
        ("session_refreshed", "debug"),
        ("refresh_token_reuse", "warning"),
        ("login_succeeded", "info"),
        ("password_changed", "info"),
        ("logged_out", "info"),
        *[("login_failed", "info")] * 5,
        ("login_throttled", "warning"),
    ]
    assert all(event["request_id"] for event in events)
    assert events[1]["request_id"] == "req-1"
    assert events[0]["user_id"] is None
    assert {event["user_id"] for event in events[1:]} == {str(ada.id)}
    assert all(event["session_id"] for event in events[1:7])
    for secret in secrets:
        assert secret not in caplog.text


async def test_security_events_name_the_user_and_the_client(
    make_app: AppFactory,
    make_client: ClientFactory,
    db: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    async with make_app(signup_mode="open") as app:
        client = make_client(app, address=("::ffff:192.0.2.9", 1))
        body = {"email": "bob@example.com", "password": PASSWORD}
        bob = (await client.post("/api/v1/users", json=body)).json()["id"]
        for email in ["nobody@example.com", *["bob@example.com"] * 6]:
            await log_in(client, email, "a wrong passphrase")
        await advance_time(db, 15 * 60)
        await log_in(client, "bob@example.com")
        first = cookie(client, "refresh")
        await client.post("/api/v1/auth/refresh")
        await advance_time(db, 10)
        set_cookie(client, "refresh", first)
        await client.post("/api/v1/auth/refresh")

    events = [event for event in own_events(caplog) if event["event"] != "login_succeeded"]
    assert [(event["event"], event["user_id"]) for event in events] == [
        ("user_signed_up", bob),
        ("login_failed", None),
        *[("login_failed", bob)] * 5,
        ("login_throttled", bob),
        ("refresh_token_reuse", bob),
    ]
    assert {event["client_address"] for event in events} == {"192.0.2.9"}
    assert all("client_address" not in line for line in access_lines(caplog))


async def test_sign_ups_over_the_limit_are_logged(
    make_app: AppFactory,
    make_client: ClientFactory,
    db: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with make_app(signup_mode="open") as app:
        await add_user(app, "ada@example.com")
        client = make_client(app, address=("2001:DB8::1", 1))
        body = {"email": "ada@example.com", "password": PASSWORD}
        for _ in range(2):
            await client.post("/api/v1/users", json=body)
        await raise_shared_count(db, limits=len(IPV6_NETWORKS), attempts=49)
        for _ in range(2):
            await client.post("/api/v1/users", json=body)

    (event,) = own_events(caplog)
    assert (event["event"], event["level"]) == ("sign_up_throttled", "warning")
    assert event["client_address"] == "2001:db8::1"


async def test_failed_password_changes_are_logged(
    signed_in: httpx.AsyncClient, ada: PublicUser, caplog: pytest.LogCaptureFixture
) -> None:
    (session,) = (await signed_in.get(f"{ME}/sessions")).json()
    caplog.clear()
    body = {"current_password": "typed by mistake", "new_password": "another long passphrase"}
    for _ in range(6):
        await signed_in.put(f"{ME}/password", json=body)

    events = own_events(caplog)
    assert [(event["event"], event["level"]) for event in events] == [
        *[("password_change_failed", "info")] * 5,
        ("password_change_throttled", "warning"),
    ]
    assert {event["user_id"] for event in events} == {str(ada.id)}
    assert {event["session_id"] for event in events} == {session["id"]}
    for secret in body.values():
        assert secret not in caplog.text


async def test_sessions_that_a_user_revokes_are_logged(
    signed_in: httpx.AsyncClient, ada: PublicUser, caplog: pytest.LogCaptureFixture
) -> None:
    (session,) = (await signed_in.get(f"{ME}/sessions")).json()
    caplog.clear()
    await signed_in.delete(f"{ME}/sessions")
    await signed_in.delete(f"{ME}/sessions/{session['id']}")

    others, this = own_events(caplog)
    assert (others["event"], others["user_id"]) == ("other_sessions_ended", str(ada.id))
    assert "session_id" not in others
    assert (this["event"], this["user_id"]) == ("logged_out", str(ada.id))
    assert this["session_id"] == session["id"]


def access_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the events of the access log."""
    lines = [record.msg for record in caplog.records if record.name.endswith("access_log")]
    return [line for line in lines if isinstance(line, dict)]


async def test_each_request_writes_one_access_log_line(
    client: httpx.AsyncClient, ada: PublicUser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await client.get("/health")
    await client.get("/no/such/page?password=typed")
    await log_in(client, ada.email)
    await client.get(ME, headers={"x-request-id": "req-1"})
    await client.delete(f"{ME}/sessions/{ada.id}")

    lines = access_lines(caplog)
    sessions = f"{ME}/sessions/{{session_id}}"
    assert [(it["method"], it["route"], it["status"], it["user_id"]) for it in lines] == [
        ("GET", None, 404, None),
        ("POST", "/api/v1/auth/login", 200, None),
        ("GET", ME, 200, str(ada.id)),
        ("DELETE", sessions, 404, str(ada.id)),
    ]
    assert lines[2]["request_id"] == "req-1"
    assert all(it["milliseconds"] > 0 for it in lines)
    assert "typed" not in str(lines)


async def test_a_route_at_the_root_of_a_prefixed_router_is_logged_in_full(
    app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    router = APIRouter()

    @router.get("")
    async def notes() -> None:
        pass

    app.include_router(router, prefix="/api/v1/notes")
    caplog.set_level("INFO")
    await client.get("/api/v1/notes")
    assert [line["route"] for line in access_lines(caplog)] == ["/api/v1/notes"]


async def test_health_checks_are_logged_at_debug_level(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await client.get("/health")
    assert [(it["route"], it["level"]) for it in access_lines(caplog)] == [("/health", "debug")]


@pytest.mark.slow
def test_requests_succeed_if_logging_is_not_configured() -> None:
    program = """
import asyncio, secrets
import httpx
from app.core.settings import ExplicitSettings
from app.main import create_app

async def main():
    secret = secrets.token_urlsafe(48)
    app = create_app(ExplicitSettings(database_url="postgresql:///none", jwt_secret=secret))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test") as client:
        print((await client.get("/health")).status_code, (await client.get("/")).status_code)

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "200 404"
