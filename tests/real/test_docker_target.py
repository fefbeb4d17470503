"""The Caddyfile of the `docker` target without Docker, with two replicas on one database."""

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlencode

import pytest

from scripts.projects import project_environment, python_of
from tests.support.client import FORM
from tests.support.commands import run
from tests.support.embedded import held_database
from tests.support.servers import Server, free_port, started
from tests.support.tools import require
from tests.support.variants import Answers

LOGIN = "/api/v1/auth/login"
# Returns the client address and the scheme that the application sees.
SEEN = """

from fastapi import Request


@router.get("/seen")
async def seen(request: Request) -> str:
    return f"{request.client and request.client.host} {request.url.scheme}"
"""


@dataclass
class Caddy:
    """The proxy on a port of this machine."""

    port: int

    def call(
        self,
        path: str,
        form: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        client: str = "127.0.0.1",
    ) -> tuple[int, str]:
        """Send a request from an address, and return the status and the body. Raise `OSError`."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(client, 0))
        try:
            if form is None:
                connection.request("GET", path, headers=headers or {})
            else:
                described = {"Content-Type": FORM, **(headers or {})}
                connection.request("POST", path, urlencode(form), described)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except HTTPException as error:
            raise OSError(f"the connection broke: {error!r}") from error
        finally:
            connection.close()


@pytest.fixture(scope="module")
def project(installed: Callable[[Answers], Path]) -> Path:
    """Return an installed project for the `docker` target, which can show client addresses."""
    require("caddy")
    project = installed({"deploy_target": "docker"})
    with (project / "app/api/v1/__init__.py").open("a", encoding="utf-8") as module:
        module.write(SEEN)
    return project


@pytest.fixture(scope="module")
def settings(project: Path) -> Iterator[dict[str, str]]:
    """Return the settings of the replicas, which trust only Caddy's address."""
    with held_database(project) as url:
        settings = project_environment(
            DATABASE_URL=url,
            JWT_SECRET="3kVZx0TqY7mB5cWn2RfJ8hLs6PdGa9Eu",
            FORWARDED_ALLOW_IPS="127.0.0.1",
            SHUTDOWN_DELAY_SECONDS="5",  # the value in the image
        )
        run([python_of(project), "-m", "app", "migrate"], project, settings)
        yield settings


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return [free_port(), free_port()]


@pytest.fixture(scope="module")
def start(
    project: Path,
    settings: dict[str, str],
    ports: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[int], Server]]:
    """Return a function that starts one of the replicas, and returns when it is ready."""
    with ExitStack() as stack:

        def start(number: int) -> Server:
            environment = settings | {"PORT": str(ports[number])}
            log = tmp_path_factory.mktemp("replica") / "log"
            command = (str(python_of(project)), "-m", "app", "serve")
            server = stack.enter_context(started(command, project, environment, log))
            server.wait_until_ready()
            return server

        yield start


@pytest.fixture(scope="module")
def replicas(start: Callable[[int], Server]) -> list[Server]:
    """Return the two running replicas."""
    return [start(0), start(1)]


@pytest.fixture(scope="module")
def caddy(
    project: Path,
    replicas: list[Server],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Caddy]:
    """Return Caddy with the rendered file and plain HTTP, because certificates need a host name."""
    port, folder = free_port(), tmp_path_factory.mktemp("caddy")
    environment = {
        **os.environ,
        "PORT": str(port),
        "ADMIN_ADDRESS": "off",
        "SITE_ADDRESS": f"http://127.0.0.1:{port}",
        "UPSTREAMS": " ".join(f"127.0.0.1:{it.port}" for it in replicas),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
    }
    command = ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    with started(command, project, environment, folder / "log") as server:
        server.wait_until_ready()
        yield Caddy(port)


def test_caddyfile_is_valid(project: Path) -> None:
    environment = {**os.environ, "SITE_ADDRESS": "api.example.com"}
    command = ["caddy", "validate", "--config", "Caddyfile", "--adapter", "caddyfile"]
    assert "Valid configuration" in run(command, project, environment)


def test_client_cannot_forge_its_address_or_the_scheme(caddy: Caddy) -> None:
    forged = {
        "Forwarded": "for=203.0.113.9;proto=https",
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Real-IP": "203.0.113.9",
    }
    assert caddy.call("/api/v1/seen", headers=forged) == (200, '"127.0.0.1 http"')


def test_each_client_has_its_own_address(caddy: Caddy) -> None:
    assert caddy.call("/api/v1/seen", client="127.0.0.2") == (200, '"127.0.0.2 http"')
    # A client cannot claim to be the proxy either.
    forged = {"X-Forwarded-For": "203.0.113.9, 127.0.0.1"}
    assert caddy.call("/api/v1/seen", headers=forged, client="127.0.0.2") == (
        200,
        '"127.0.0.2 http"',
    )


def test_forged_addresses_of_one_client_share_its_rate_limit(caddy: Caddy) -> None:
    guess = {"username": "nobody@example.com", "password": "a wrong password"}
    statuses = [
        caddy.call(LOGIN, guess, headers={"X-Forwarded-For": f"203.0.113.{number}"})[0]
        for number in range(7)
    ]
    assert statuses == [401] * 5 + [429] * 2
    assert caddy.call(LOGIN, guess, client="127.0.0.2")[0] == 401


def test_no_request_fails_while_replicas_are_replaced(
    caddy: Caddy, replicas: list[Server], start: Callable[[int], Server]
) -> None:
    results: Counter[object] = Counter()
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            for path, form in (("/api/v1/users/me", None), ("/api/v1/auth/refresh", {})):
                try:
                    results[path, caddy.call(path, form)[0]] += 1
                except OSError as error:
                    results[path, repr(error)] += 1

    users = [threading.Thread(target=use) for _ in range(4)]
    for user in users:
        user.start()
    try:
        for number in (0, 1):
            assert replicas[number].stop(signal.SIGTERM) == 0, replicas[number].output()
            replicas[number] = start(number)
            # Caddy checks each replica every second. Before that, it would only use the other one.
            time.sleep(3)
    finally:
        done.set()
        for user in users:
            user.join()
    assert results.keys() == {("/api/v1/users/me", 401), ("/api/v1/auth/refresh", 401)}, results
    assert results.total() > 100


def test_endless_body_is_cut_off(caddy: Caddy) -> None:
    sent, piece = 0, b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", caddy.port), timeout=20) as client:
        head = f"POST {LOGIN} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\n"
        client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            while sent < 100:  # one mebibyte each
                client.sendall(piece)
                sent += 1
            response = client.recv(100)
        except ConnectionError:
            response = b""
    assert not response or b" 413 " in response
    assert sent < 100


def test_slow_header_is_cut_off(caddy: Caddy) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", caddy.port), timeout=20) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        assert client.recv(100) == b""
    assert time.monotonic() - began < 15  # Caddy's read_header is 10 s
