"""Clients that send far too much, or hardly anything: they get no memory and stop nobody."""

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.load import Call, load
from tests.middlemen import Nginx
from tests.production import LOGIN, ME, Site
from tests.servers import Server, free_port, wait_until

MEGABYTE = 1024 * 1024
BODY_BYTES = 100 * MEGABYTE
# Far less than one of the bodies.
ALLOWANCE_BYTES = 30 * MEGABYTE
PATIENCE_SECONDS = 2
LORISES = 200
UNDISTURBED_SECONDS = 30  # half of what nginx waits for by default
# A beginning that never ends: of a header, and of a body.
BEGINNINGS = {
    "header": b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
    "body": (
        f"POST {LOGIN} HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nuser"
    ).encode(),
}
# nginx counts the time of a whole header, but of a body only the time between two bytes.
MORE = {"header": b"X-More: and more\r\n", "body": b""}


def peak_memory(server: Server) -> int:
    """Return the most memory that a process has ever held, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    (kilobytes,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(kilobytes) * 1024


def send_body(port: int, chunked: bool) -> int | None:
    """Send 100 MB; gives the status, or None where the connection was closed without one."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    headers |= {} if chunked else {"Content-Length": str(BODY_BYTES)}
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    body = (b"x" * MEGABYTE for _ in range(BODY_BYTES // MEGABYTE))
    with suppress(OSError):  # refused before it was sent; perhaps with an answer
        connection.request("POST", LOGIN, body, headers, encode_chunked=chunked)
    try:
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_of_100_megabytes_is_refused_and_not_kept(
    site: Site, replica: Server, tmp_path: Path, chunked: bool
) -> None:
    browser = site.sign_in(replica)
    before = peak_memory(replica)
    with (
        Nginx(free_port(), tmp_path).before(replica.port) as proxy,
        load((browser, Call("GET", ME))) as noted,
        ThreadPoolExecutor(8) as threads,
    ):
        ports = [replica.port, proxy.port] * 4
        statuses = list(threads.map(lambda port: send_body(port, chunked), ports))
    assert set(statuses) <= {413, None}
    assert 413 in statuses
    assert set(noted.counts()) == {200}
    assert peak_memory(replica) - before < ALLOWANCE_BYTES


@pytest.fixture
def lorises() -> Iterator[ExitStack]:
    """Return what closes the connections of the lorises in the end."""
    with ExitStack() as stack:
        yield stack


def begin(stack: ExitStack, port: int, beginning: bytes) -> list[socket.socket]:
    """Open connections that send a beginning and nothing more."""
    connections = []
    for _ in range(LORISES):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        connection.sendall(beginning)
        connection.setblocking(False)
        connections.append(connection)
    return connections


def is_closed(connection: socket.socket, more: bytes = b"") -> bool:
    """Return whether the server has closed the connection; if it has not, send it some more."""
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
def test_nginx_closes_a_slow_loris_and_the_others_are_served(
    site: Site, replica: Server, tmp_path: Path, lorises: ExitStack, part: str
) -> None:
    before = peak_memory(replica)
    nginx = Nginx(free_port(), tmp_path, patience_seconds=PATIENCE_SECONDS)
    with (
        nginx.before(replica.port) as proxy,
        load((site.sign_in(proxy), Call("GET", ME))) as noted,
    ):
        connections = begin(lorises, proxy.port, BEGINNINGS[part])
        begun = time.monotonic()
        noted.wait_for(20, 200, since=begun)
        wait_until(
            lambda: all(is_closed(it, MORE[part]) for it in connections),
            "some stay",
            UNDISTURBED_SECONDS,
        )
    assert set(noted.counts()) == {200}
    assert max(it.seconds for it in noted.results) < UNDISTURBED_SECONDS
    assert peak_memory(replica) - before < ALLOWANCE_BYTES


@pytest.mark.parametrize("part", BEGINNINGS)
def test_without_a_proxy_a_slow_loris_stops_nobody(
    site: Site, replica: Server, lorises: ExitStack, part: str
) -> None:
    before = peak_memory(replica)
    with load((site.sign_in(replica), Call("GET", ME))) as noted:
        connections = begin(lorises, replica.port, BEGINNINGS[part])
        begun = time.monotonic()
        noted.wait_for(40, 200, since=begun)
    assert set(noted.counts()) == {200}
    assert max(it.seconds for it in noted.results) < UNDISTURBED_SECONDS
    assert peak_memory(replica) - before < ALLOWANCE_BYTES
    if part == "header":  # one that stops in the body is waited for, for a while
        assert replica.stop(signal.SIGTERM) == 0
        assert all(is_closed(it) for it in connections)
