"""A server and clients for tests of streams, because a test transport cannot stream."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from app.core.http_protocol import BoundedHttpProtocol, BoundedWebSocketProtocol
from tests.conftest import HANG_SECONDS


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """Serve an application that has started, and yield the host and the port."""
    config = uvicorn.Config(
        app,
        http=BoundedHttpProtocol,
        ws=BoundedWebSocketProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        # Not `serve`, which notices only after a tenth of a second that it should stop.
        await server.startup([sock])
        yield f"127.0.0.1:{sock.getsockname()[1]}"
        await server.shutdown([sock])


@dataclass(frozen=True)
class Stream:
    """An open stream.

    closed: waits for its end, and returns the close code of a WebSocket.
    send: sends a message on a WebSocket.
    """

    receive: Callable[[], Awaitable[str]]
    closed: Callable[[], Awaitable[int | None]]
    send: Callable[[str | bytes], Awaitable[None]]


def with_cookies(client: httpx.AsyncClient, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers with the cookies of a client, whatever their host is."""
    cookies = "; ".join(f"{it.name}={it.value}" for it in client.cookies.jar)
    return {"cookie": cookies, **(headers or {})}


@asynccontextmanager
async def open_socket(
    url: str, user: httpx.AsyncClient, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Stream]:
    """Open a WebSocket with the cookies of a client. Raise `InvalidStatus`.

    url: the host, the port and the path.
    """
    headers = with_cookies(user, headers)
    async with connect(f"ws://{url}", additional_headers=headers, proxy=None) as client:

        async def receive() -> str:
            return str(await client.recv())

        async def closed() -> int | None:
            try:
                async with asyncio.timeout(HANG_SECONDS):
                    while True:
                        await client.recv()
            except ConnectionClosed:
                return client.close_code

        yield Stream(receive, closed, client.send)


@asynccontextmanager
async def open_events(
    url: str, user: httpx.AsyncClient, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Stream]:
    """Open server-sent events with the cookies of a client. Raise `HTTPStatusError`.

    url: the host, the port and the path.
    """
    headers = with_cookies(user, headers)
    async with (
        httpx.AsyncClient(timeout=HANG_SECONDS, verify=False) as client,  # noqa: S501 - no TLS
        client.stream("GET", f"http://{url}", headers=headers) as response,
    ):
        if response.is_error:
            await response.aread()
            response.raise_for_status()
        assert "no-store" in response.headers["cache-control"]
        lines = response.aiter_lines()

        async def receive() -> str:
            async for line in lines:
                if line.startswith("data: "):
                    return line.removeprefix("data: ").strip('"')
            raise AssertionError("the stream has ended")

        async def closed() -> None:
            async for _ in lines:
                pass

        async def send(_: str | bytes) -> None:
            raise NotImplementedError

        yield Stream(receive, closed, send)
