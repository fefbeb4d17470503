"""OpenTelemetry as in docs/operations.md: traces and metrics arrive at the address of `OTEL_*`."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts.projects import project_environment, python_of
from tests.support.client import Browser
from tests.support.commands import run
from tests.support.servers import free_port, started
from tests.support.variants import Answers


class Receiver(ThreadingHTTPServer):
    """Stores the received data by path."""

    def __init__(self) -> None:
        self.received: dict[str, bytes] = {}
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """Responds like an OTLP receiver that accepts any data."""

    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received[self.path] = self.server.received.get(self.path, b"") + body
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver on this machine."""
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def project(installed: Callable[[Answers], Path]) -> Path:
    """Return an installed project with the default answers, without the dependency group."""
    return installed({})


def serve(project: Path, environment: dict[str, str], log: Path) -> str:
    """Serve one request, stop the process, and return its complete output."""
    with started(["make", "dev"], project, environment, log) as server:
        server.wait_until_ready()
        assert Browser(server.port).get("/api/v1/users/me").status == 401
    return log.read_text()


def test_telemetry_is_off_by_default_and_can_be_enabled(
    project: Path, receiver: Receiver, tmp_path: Path
) -> None:
    environment = project_environment(
        PORT=str(free_port()),
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.server_port}",
    )
    serve(project, environment, tmp_path / "off")
    assert receiver.received == {}

    environment["TELEMETRY_ENABLED"] = "true"
    output = run([python_of(project), "-m", "app", "doctor"], project, environment, exit_code=1)
    assert "TELEMETRY_ENABLED needs the dependency group telemetry" in output

    run(["uv", "sync", "--quiet", "--group", "telemetry"], project, environment)
    environment["UV_NO_SYNC"] = "1"  # otherwise `make dev` would remove the group again
    serve(project, environment, tmp_path / "on")
    assert receiver.received.keys() == {"/v1/traces", "/v1/metrics"}
    assert b"/api/v1/users/me" in receiver.received["/v1/traces"]
