"""Limits on requests, with a real server on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect

from app.core import http_protocol
from app.core.http_protocol import MAX_HEAD_BYTES, BoundedHttpProtocol, BoundedWebSocketProtocol
from tests.conftest import HANG_SECONDS, until

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
DONE = b"Content-Length: 0\r\n\r\n"


async def respond(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


flooded = asyncio.Event()


async def flood(_request: Request) -> StreamingResponse:
    flooded.set()

    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 60_000
            await asyncio.sleep(0)  # otherwise nothing notices that the client is gone

    return StreamingResponse(parts())


async def flood_socket(socket: WebSocket) -> None:
    flooded.set()
    await socket.accept()
    with suppress(WebSocketDisconnect):
        while True:
            await socket.send_bytes(b"x" * 60_000)


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    """Return a server that closes no idle connection while a test runs."""
    config = uvicorn.Config(
        Starlette(
            routes=[
                Route("/", respond, methods=["POST"]),
                Route("/flood", flood),
                WebSocketRoute("/socket", echo),
                WebSocketRoute("/flood-socket", flood_socket),
            ],
        ),
        port=0,
        http=BoundedHttpProtocol,
        ws=BoundedWebSocketProtocol,
        timeout_keep_alive=HANG_SECONDS,
        log_config=None,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0.01)
    yield server
    server.should_exit = True
    await task


@pytest.fixture
def port(server: uvicorn.Server) -> int:
    """Return the server's port."""
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


async def send(port: int, *parts: bytes) -> bytes:
    """Send parts of requests, and return all data until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"Cookie: " + b"x" * MAX_HEAD_BYTES + b"\r\n",
        HEAD + b"X: y\r\n" * MAX_HEAD_BYTES,
        b"POST /?" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: localhost\r\n",
    ],
    ids=["one field", "many fields", "target"],
)
@pytest.mark.parametrize("pieces", [1, 7])
async def test_head_that_is_too_large_is_rejected(port: int, head: bytes, pieces: int) -> None:
    whole = head + DONE
    size = len(whole) // pieces + 1
    response = await send(port, *(whole[i : i + size] for i in range(0, len(whole), size)))

    assert response.startswith(b"HTTP/1.1 431 ") or response == b""


async def test_endless_head_is_cut_off(port: int) -> None:
    response = await send(port, HEAD + b"Cookie: ", *[b"x" * MAX_HEAD_BYTES] * 3)

    assert response.startswith(b"HTTP/1.1 431 ") or response == b""


async def test_large_body_does_not_count_as_a_large_head(port: int) -> None:
    size = 4 * MAX_HEAD_BYTES
    body = f"Content-Length: {size}\r\nConnection: close\r\n\r\n".encode() + b"x" * size
    response = await send(port, HEAD + body, b"")

    assert response.startswith(b"HTTP/1.1 200 ")
    assert response.endswith(str(size).encode())


async def test_many_requests_of_one_connection_are_served(port: int) -> None:
    # Together they exceed the limit for a head. Two are sent in one piece, and one in two pieces.
    request = HEAD + b"Cookie: " + b"x" * (MAX_HEAD_BYTES // 2) + b"\r\n" + DONE
    last = HEAD + b"Connection: close\r\n" + DONE
    response = await send(port, request, request * 2, request[:99], request[99:], last)

    assert response.count(b"HTTP/1.1 200 ") == 5


@pytest.mark.parametrize(
    ("constant", "beginning"),
    [
        ("HEAD_SECONDS", HEAD),
        ("BODY_SECONDS", HEAD + b"Content-Length: 9\r\n\r\nfour"),
        ("HEAD_SECONDS", HEAD + DONE + HEAD),
    ],
    ids=["head", "body", "head of the second request"],
)
async def test_unfinished_request_is_cut_off(
    port: int, monkeypatch: pytest.MonkeyPatch, constant: str, beginning: bytes
) -> None:
    monkeypatch.setattr(http_protocol, constant, 0.1)
    async with asyncio.timeout(HANG_SECONDS):
        response = await send(port, beginning)

    assert response.count(b"HTTP/1.1") == beginning.count(DONE)


async def test_connection_that_sends_nothing_is_closed(server: uvicorn.Server, port: int) -> None:
    server.config.timeout_keep_alive = 1
    async with asyncio.timeout(HANG_SECONDS):
        assert await send(port) == b""


async def test_request_that_takes_long_to_serve_is_not_cut_off(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.05)
    monkeypatch.setattr(http_protocol, "BODY_SECONDS", 0.05)
    release = asyncio.Event()

    async def wait(request: Request) -> bytes:
        await release.wait()
        return b""

    monkeypatch.setattr(Request, "body", wait)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"Connection: close\r\n" + DONE)
    await asyncio.sleep(0.3)
    release.set()
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_malformed_request_is_rejected_with_400(port: int) -> None:
    assert (await send(port, b"no request\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_websocket_has_no_time_limit(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.05)
    monkeypatch.setattr(http_protocol, "BODY_SECONDS", 0.05)

    async with connect(f"ws://127.0.0.1:{port}/socket", proxy=None) as client:
        await asyncio.sleep(0.2)
        await client.send("hello")
        assert await client.recv() == "hello"


REQUESTS = {
    "response": b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "WebSocket": b"GET /flood-socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
}


@pytest.mark.parametrize("kind", REQUESTS)
async def test_client_that_reads_nothing_is_disconnected(
    server: uvicorn.Server, port: int, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(http_protocol, "READ_SECONDS", 0.05)
    flooded.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(REQUESTS[kind])

    async def is_disconnected() -> bool:
        return flooded.is_set() and not server.server_state.connections

    await until(is_disconnected)
    writer.close()


async def test_websocket_that_reads_nothing_does_not_delay_the_shutdown(
    server: uvicorn.Server, port: int
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(REQUESTS["WebSocket"])

    async def is_paused() -> bool:
        connections = server.server_state.connections
        return any(getattr(it, "_read_deadline", None) is not None for it in connections)

    async def is_disconnected() -> bool:
        return not server.server_state.connections

    await until(is_paused)
    server.should_exit = True
    await until(is_disconnected)
    writer.close()
