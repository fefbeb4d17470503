"""Clients that send too much, or send too slowly: they use no memory and do not block others."""

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.load import Call, load
from tests.support.middlemen import Nginx
from tests.support.production import LOGIN, ME, Site
from tests.support.servers import Server, free_port, wait_until

MEGABYTE = 1024 * 1024
BODY_BYTES = 100 * MEGABYTE
# Much less than one of the bodies.
ALLOWANCE_BYTES = 30 * MEGABYTE
PATIENCE_SECONDS = 2
SLOW_CONNECTIONS = 200
UNDISTURBED_SECONDS = 30  # half of nginx's default timeout
# The beginnings of a header and of a body that are never completed.
BEGINNINGS = {
    "header": b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
    "body": (
        f"POST {LOGIN} HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nuser"
    ).encode(),
}
# nginx limits the time for a whole header, but for a body only the time between two reads.
MORE = {"header": b"X-More: and more\r\n", "body": b""}


def peak_memory(server: Server) -> int:
    """Return the peak memory usage of a process in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    (kilobytes,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(kilobytes) * 1024


def send_body(port: int, chunked: bool) -> int | None:
    """Send 100 MB, and return the status, or None if the connection was closed without one."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    headers |= {} if chunked else {"Content-Length": str(BODY_BYTES)}
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    body = (b"x" * MEGABYTE for _ in range(BODY_BYTES // MEGABYTE))
    with suppress(OSError):  # rejected before it was sent, perhaps with a response
        connection.request("POST", LOGIN, body, headers, encode_chunked=chunked)
    try:
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_body_of_100_megabytes_is_rejected_and_not_kept_in_memory(
    site: Site, replica: Server, tmp_path: Path, chunked: bool
) -> None:
    browser = site.sign_in(replica)
    before = peak_memory(replica)
    with (
        Nginx(free_port(), tmp_path).before(replica.port) as proxy,
        load((browser, Call("GET", ME))) as recorded,
        ThreadPoolExecutor(8) as threads,
    ):
        ports = [replica.port, proxy.port] * 4
        statuses = list(threads.map(lambda port: send_body(port, chunked), ports))
    assert set(statuses) <= {413, None}
    assert 413 in statuses
    assert set(recorded.counts()) == {200}
    assert peak_memory(replica) - before < ALLOWANCE_BYTES


@pytest.fixture
def connections_to_close() -> Iterator[ExitStack]:
    """Return a stack that closes the slow connections at the end."""
    with ExitStack() as stack:
        yield stack


def begin(stack: ExitStack, port: int, beginning: bytes) -> list[socket.socket]:
    """Open connections that send only the beginning of a request."""
    connections = []
    for _ in range(SLOW_CONNECTIONS):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        connection.sendall(beginning)
        connection.setblocking(False)
        connections.append(connection)
    return connections


def is_closed(connection: socket.socket, more: bytes = b"") -> bool:
    """Send some more data, and return whether the server has closed the connection."""
    try:
        connection.send(more)
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@pytest.mark.parametrize("part", BEGINNINGS)
def test_nginx_closes_slow_connections_and_others_are_served(
    site: Site, replica: Server, tmp_path: Path, connections_to_close: ExitStack, part: str
) -> None:
    before = peak_memory(replica)
    nginx = Nginx(free_port(), tmp_path, patience_seconds=PATIENCE_SECONDS)
    with (
        nginx.before(replica.port) as proxy,
        load((site.sign_in(proxy), Call("GET", ME))) as recorded,
    ):
        connections = begin(connections_to_close, proxy.port, BEGINNINGS[part])
        started = time.monotonic()
        recorded.wait_for(20, 200, since=started)
        wait_until(
            lambda: all(is_closed(it, MORE[part]) for it in connections),
            "some connections stay open",
            UNDISTURBED_SECONDS,
        )
    assert set(recorded.counts()) == {200}
    assert max(it.seconds for it in recorded.results) < UNDISTURBED_SECONDS
    assert peak_memory(replica) - before < ALLOWANCE_BYTES


@pytest.mark.parametrize("part", BEGINNINGS)
def test_slow_connections_do_not_block_others_without_a_proxy(
    site: Site, replica: Server, connections_to_close: ExitStack, part: str
) -> None:
    before = peak_memory(replica)
    with load((site.sign_in(replica), Call("GET", ME))) as recorded:
        connections = begin(connections_to_close, replica.port, BEGINNINGS[part])
        started = time.monotonic()
        recorded.wait_for(40, 200, since=started)
    assert set(recorded.counts()) == {200}
    assert max(it.seconds for it in recorded.results) < UNDISTURBED_SECONDS
    assert peak_memory(replica) - before < ALLOWANCE_BYTES
    if part == "header":  # the server waits for a while for the rest of a body
        assert replica.stop(signal.SIGTERM) == 0
        assert all(is_closed(it) for it in connections)
