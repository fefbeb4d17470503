"""Uvicorn's protocols, with limits on the size of a request's head, and on the time of a client.

Uvicorn itself has none of these limits. Without a proxy that does, one cookie of 16 MB stalls the
event loop for more than a second, and a client that never finishes its requests, or never reads its
responses, keeps its connections open forever.
"""

from asyncio import AbstractEventLoop, Protocol, TimerHandle, Transport
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""The limit for the request target and the header fields together."""
HEAD_SECONDS: Final = 10
"""The limit from the first byte of a request to the end of its head."""
BODY_SECONDS: Final = 60
"""The limit from the end of the head to the end of the body."""
READ_SECONDS: Final = 30
"""How long a client may read so little that the buffer of the connection stays full."""
TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
# The part of a request that the server is waiting for.
NOTHING, HEAD, BODY = range(3)


class ReadDeadline(Protocol):
    """Disconnects a client that does not read what the server sends.

    `close` would wait until the client has read everything.
    """

    loop: AbstractEventLoop
    transport: Transport
    _read_deadline: TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._read_deadline = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_read_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_read_deadline()
        super().connection_lost(exc)

    def _cancel_read_deadline(self) -> None:
        if self._read_deadline is not None:
            self._read_deadline.cancel()
            self._read_deadline = None


class BoundedWebSocketProtocol(ReadDeadline, WebSocketsSansIOProtocol):
    """A WebSocket that also ends if the client does not read."""

    def shutdown(self) -> None:
        super().shutdown()
        if self._read_deadline is not None:
            self.transport.abort()


class BoundedHttpProtocol(ReadDeadline, HttpToolsProtocol):
    """Responds with 431 to a head that is too large, and disconnects after a time limit.

    It also disconnects a client that sends nothing for the keep-alive time.
    """

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_for = NOTHING
        self._deadline_is_for: int | None = None
        self._deadline = self.loop.call_later(self.timeout_keep_alive, transport.close)
        self._chunk_bytes = self._head_bytes = 0
        self._head_is_too_large = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._chunk_bytes = len(data)
        self._head_bytes += len(data)
        super().data_received(data)
        if self._waits_for == HEAD and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse()
        elif self._waits_for != self._deadline_is_for and not self.transport.is_closing():
            self._deadline.cancel()
            self._deadline_is_for = self._waits_for
            if self._waits_for != NOTHING:
                seconds = HEAD_SECONDS if self._waits_for == HEAD else BODY_SECONDS
                self._deadline = self.loop.call_later(seconds, self.transport.close)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._waits_for = HEAD
        self._deadline_is_for = None  # the deadline of the previous request does not apply
        self._head_bytes = self._chunk_bytes

    def on_headers_complete(self) -> None:
        self._waits_for = BODY
        # The count may include a part of the body, so count the head exactly.
        if self._head_bytes > MAX_HEAD_BYTES:
            fields = sum(len(name) + len(value) for name, value in self.headers)
            if len(self.url) + fields > MAX_HEAD_BYTES:
                self._head_is_too_large = True
                raise ValueError("the head is too large")  # stops the parser
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._waits_for = NOTHING
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._head_is_too_large:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _refuse(self) -> None:
        self.transport.write(TOO_LARGE)
        self.transport.close()
