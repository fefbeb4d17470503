import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.sse import EventSourceResponse
from websockets.exceptions import InvalidStatus

from app.api.streams import StreamAuth, receive_texts
from app.core.http_protocol import BoundedHttpProtocol
from app.core.settings import Settings
from app.main import create_app
from app.services.sessions import watching
from app.services.users import PublicUser
from tests.conftest import (
    HANG_SECONDS,
    ORIGIN,
    PASSWORD,
    SECRET,
    ClientFactory,
    advance_time,
    log_in,
    until,
)
from tests.processes import free_port, process, wait_for
from tests.streaming import Stream, open_events, open_socket, served, with_cookies

KINDS = ("events", "socket")
SESSIONS = "/api/v1/users/me/sessions"

router = APIRouter()


@router.get("/events", response_class=EventSourceResponse)
async def send_events(auth: StreamAuth) -> AsyncIterator[str]:
    yield auth.user.email
    await asyncio.Event().wait()


@router.websocket("/socket")
async def send_messages(socket: WebSocket, auth: StreamAuth) -> None:
    await socket.accept()
    await socket.send_text(auth.user.email)
    async for text in receive_texts(socket):
        await socket.send_text(str(1 // int(text)))


@router.websocket("/stubborn")
async def go_on_once(socket: WebSocket, auth: StreamAuth) -> None:
    """Go on after a cancellation, as `asyncio.wait_for` sometimes does in Python 3.11."""
    await socket.accept()
    await socket.send_text(auth.user.email)
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


@router.get("/flood", response_class=EventSourceResponse)
async def send_without_end(_auth: StreamAuth) -> AsyncIterator[str]:
    while True:
        yield "x" * 60_000


@pytest.fixture
async def host(app: FastAPI) -> AsyncIterator[str]:
    """Return the host and port of a server with both kinds of streams."""
    app.include_router(router)
    async with served(app) as host:
        yield host


@pytest.fixture
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "CHECK_SECONDS", 0.01)


def open_stream(
    kind: str, host: str, client: httpx.AsyncClient, headers: Mapping[str, str] | None = None
) -> AbstractAsyncContextManager[Stream]:
    """Open a stream with the cookies of a client, and with a query."""
    open_this = open_socket if kind == "socket" else open_events
    return open_this(f"{host}/{kind}?secret", client, headers)


async def rejection(stream: AbstractAsyncContextManager[Stream]) -> tuple[int, str]:
    """Return the status and the type of the problem of a rejected stream."""
    with pytest.raises((InvalidStatus, httpx.HTTPStatusError)) as caught:
        await stream.__aenter__()
    response: Any = caught.value.response  # type: ignore[attr-defined]  # both have it
    body = response.content if isinstance(response, httpx.Response) else response.body
    problem = json.loads(body)
    assert response.headers["x-request-id"] == problem["request_id"]
    return response.status_code, problem["type"]


@pytest.mark.parametrize("kind", KINDS)
async def test_stream_without_a_session_is_rejected(
    host: str, client: httpx.AsyncClient, kind: str
) -> None:
    status, problem = await rejection(open_stream(kind, host, client))

    assert (status, problem) == (401, "/problems/not-signed-in")


@pytest.mark.usefixtures("frequent_checks")
@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("sign-out", "events"),
        ("sign-out", "socket"),
        ("other device", "events"),
        ("password", "socket"),
        ("expiry", "events"),
        ("idle", "socket"),
        ("deactivation", "events"),
        ("deletion", "socket"),
        ("role", "events"),
    ],
)
async def test_stream_ends_when_the_session_is_no_longer_active(
    app: FastAPI,
    host: str,
    signed_in: httpx.AsyncClient,
    ada: PublicUser,
    make_client: ClientFactory,
    db: asyncpg.Connection,
    how: str,
    kind: str,
) -> None:
    other = make_client(app)
    await log_in(other, ada.email)

    async with open_stream(kind, host, signed_in) as stream:
        assert await stream.receive() == ada.email
        match how:
            case "sign-out":
                await signed_in.post("/api/v1/auth/logout")
            case "other device":
                await other.delete(SESSIONS)
            case "password":
                passwords = {"current_password": PASSWORD, "new_password": "another passphrase"}
                await other.put("/api/v1/users/me/password", json=passwords)
            case "expiry":
                await advance_time(db, app.state.settings.session_ttl_seconds)
            case "idle":
                await db.execute("UPDATE refresh_tokens SET expires_at = clock_timestamp()")
            case "deactivation":
                await db.execute("UPDATE users SET is_active = false")
            case "role":
                await db.execute("UPDATE users SET role = 'admin'")
            case "deletion":
                await db.execute("DELETE FROM users")

        assert await stream.closed() == (1008 if kind == "socket" else None)


@pytest.mark.usefixtures("frequent_checks")
async def test_stream_ends_although_its_endpoint_goes_on(
    app: FastAPI, host: str, signed_in: httpx.AsyncClient
) -> None:
    async with open_socket(f"{host}/stubborn", signed_in) as stream:
        assert await stream.receive() == "ada@example.com"
        await signed_in.post("/api/v1/auth/logout")
        assert await stream.closed() == 1008
    await log_in(signed_in, "ada@example.com")
    async with open_socket(f"{host}/stubborn", signed_in) as stream:
        assert await stream.receive() == "ada@example.com"
        app.state.watcher.stop()
        assert await stream.closed() == 1012


@pytest.mark.usefixtures("frequent_checks")
async def test_stream_ends_although_the_client_reads_nothing(
    host: str,
    signed_in: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    paused = asyncio.Event()
    pause = BoundedHttpProtocol.pause_writing

    def note_and_pause(protocol: BoundedHttpProtocol) -> None:
        pause(protocol)
        paused.set()

    monkeypatch.setattr(BoundedHttpProtocol, "pause_writing", note_and_pause)
    _, writer = await asyncio.open_connection(*host.split(":"), limit=1)
    cookies = with_cookies(signed_in, {})["cookie"]
    writer.write(f"GET /flood HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\n\r\n".encode())
    async with asyncio.timeout(HANG_SECONDS):
        await paused.wait()
    await signed_in.post("/api/v1/auth/logout")

    async def has_ended() -> bool:
        return "SessionNotActive" in caplog.text

    await until(has_ended)
    writer.transport.abort()
    await until(lambda: is_logged(caplog, "/flood"))
    assert "Traceback" not in caplog.text


async def is_logged(caplog: pytest.LogCaptureFixture, route: str) -> bool:
    """Return whether the access log has a line for a route."""
    return f"'route': '{route}'" in caplog.text


@pytest.mark.usefixtures("frequent_checks")
@pytest.mark.parametrize("kind", KINDS)
async def test_stream_of_another_session_stays_open(
    app: FastAPI,
    host: str,
    signed_in: httpx.AsyncClient,
    ada: PublicUser,
    make_client: ClientFactory,
    kind: str,
) -> None:
    other = make_client(app)
    await log_in(other, ada.email)

    async with (
        open_stream("socket", host, other) as kept,
        open_stream(kind, host, signed_in) as ended,
    ):
        await signed_in.post("/api/v1/auth/logout")
        await ended.closed()

        assert await kept.receive() == ada.email
        assert len(app.state.watcher.streams) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_stream_is_not_opened_for_a_page_of_another_origin(
    host: str, signed_in: httpx.AsyncClient, kind: str, subtests: pytest.Subtests
) -> None:
    for headers in (
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": f"http://{host}"},
        {"sec-fetch-site": "cross-site"},
    ):
        with subtests.test(str(headers)):
            status, problem = await rejection(open_stream(kind, host, signed_in, headers))

            assert (status, problem) == (403, "/problems/cross-site-request")


@pytest.mark.parametrize("kind", KINDS)
async def test_stream_is_opened_for_an_allowed_origin_and_without_a_browser(
    host: str, signed_in: httpx.AsyncClient, kind: str, subtests: pytest.Subtests
) -> None:
    for headers in ({"origin": ORIGIN}, {"origin": f"https://{host}"}, {}):
        with subtests.test(str(headers)):
            async with open_stream(kind, host, signed_in, headers) as stream:
                assert await stream.receive() == "ada@example.com"


@pytest.mark.parametrize("kind", KINDS)
async def test_streams_end_when_the_server_stops(
    app: FastAPI, host: str, signed_in: httpx.AsyncClient, kind: str
) -> None:
    async with open_stream(kind, host, signed_in) as stream:
        await stream.receive()
        app.state.end_streams()

        assert await stream.closed() == (1012 if kind == "socket" else None)

    status, problem = await rejection(open_stream(kind, host, signed_in))
    assert (status, problem) == (503, "/problems/not-ready")


@pytest.mark.parametrize("kind", KINDS)
async def test_open_stream_holds_no_database_connection(
    app: FastAPI, host: str, signed_in: httpx.AsyncClient, kind: str
) -> None:
    async with open_stream(kind, host, signed_in) as stream:
        await stream.receive()

        assert app.state.database.engine.pool.checkedout() == 0


@pytest.mark.usefixtures("frequent_checks")
@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_left_of_a_stream_that_the_client_closes(
    app: FastAPI, host: str, signed_in: httpx.AsyncClient, kind: str
) -> None:
    tasks = asyncio.all_tasks()
    async with open_stream(kind, host, signed_in) as stream:
        await stream.receive()
        assert len(app.state.watcher.streams) == 1

    async def is_forgotten() -> bool:
        return not app.state.watcher.streams and asyncio.all_tasks() <= tasks

    await until(is_forgotten)


@pytest.mark.usefixtures("frequent_checks")
@pytest.mark.parametrize("kind", KINDS)
async def test_streams_stay_open_for_a_while_if_the_database_is_unavailable(
    host: str,
    signed_in: httpx.AsyncClient,
    db: asyncpg.Connection,
    kind: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def is_logged() -> bool:
        return "streams_not_checked" in caplog.text

    async with open_stream(kind, host, signed_in) as stream:
        await stream.receive()
        await db.execute("ALTER TABLE refresh_tokens RENAME TO hidden")
        try:
            await until(is_logged)
            assert "stream_ended" not in caplog.text
            monkeypatch.setattr(watching, "UNCHECKED_SECONDS", 0)
            assert await stream.closed() == (1013 if kind == "socket" else None)
        finally:
            await db.execute("ALTER TABLE hidden RENAME TO refresh_tokens")


async def test_number_of_streams_of_a_user_is_limited(
    host: str, signed_in: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MAX_STREAMS", 1)

    async with open_stream("events", host, signed_in) as stream:
        await stream.receive()
        status, problem = await rejection(open_stream("socket", host, signed_in))

    assert (status, problem) == (429, "/problems/too-many-streams")


@pytest.mark.parametrize("kind", KINDS)
async def test_stream_is_logged_once_without_its_query(
    host: str,
    signed_in: httpx.AsyncClient,
    ada: PublicUser,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")

    def lines() -> list[dict[str, Any]]:
        own = [it.msg for it in caplog.records if isinstance(it.msg, dict)]
        return [it for it in own if it["event"] == "request" and it["route"] == f"/{kind}"]

    async def is_logged() -> bool:
        return bool(lines())

    headers = {"x-request-id": "req-1"}
    async with open_stream(kind, host, signed_in, headers) as stream:
        await stream.receive()
        assert lines() == []
    await until(is_logged)

    (line,) = lines()
    method, status = ("WEBSOCKET", 101) if kind == "socket" else ("GET", 200)
    assert (line["method"], line["status"], line["request_id"]) == (method, status, "req-1")
    assert line["user_id"] == str(ada.id)
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("message", "code", "logged"), [("0", 1011, True), (b"binary", 1003, False)]
)
async def test_websocket_is_closed_after_an_error(
    host: str,
    signed_in: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
    message: str | bytes,
    code: int,
    logged: bool,
) -> None:
    async with open_stream("socket", host, signed_in) as stream:
        await stream.receive()
        await stream.send(message)

        assert await stream.closed() == code
    assert ("internal_error" in caplog.text) == logged


def create_streaming_app() -> FastAPI:
    """Create an application for a server process, with settings from the environment."""
    app = create_app(Settings())
    app.include_router(router)
    return app


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_open_streams_do_not_delay_the_shutdown(
    test_database: str, signed_in: httpx.AsyncClient, number: signal.Signals
) -> None:
    host = f"127.0.0.1:{free_port()}"
    settings = {
        "DATABASE_URL": test_database,
        "ENVIRONMENT": "test",
        "JWT_SECRET": SECRET,
        "SHUTDOWN_DELAY_SECONDS": "0",
    }
    command = ("uvicorn", "--factory", "tests.api.test_streams:create_streaming_app")
    with process(*command, "--port", host.split(":")[1], settings=settings) as child:
        await asyncio.to_thread(wait_for, f"http://{host}/health/ready", child)
        async with (
            open_stream("events", host, signed_in) as events,
            open_stream("socket", host, signed_in) as socket,
        ):
            await events.receive()
            child.send_signal(number)
            await events.closed()
            assert await socket.closed() == 1012
        output, _ = await asyncio.to_thread(child.communicate, timeout=HANG_SECONDS)

    assert "Traceback" not in output
