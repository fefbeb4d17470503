"""Processes of this project that tests start and stop."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.conftest import HANG_SECONDS, ORIGIN, SECRET

ROOT = Path(__file__).parents[1]
NO_DOTENV = ROOT / "tests"  # here, processes do not find a developer's .env
PYTHON = [sys.executable, "-m"]
START_SECONDS = HANG_SECONDS


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def process(
    *command: str, settings: Mapping[str, str], cwd: Path = NO_DOTENV
) -> Iterator[subprocess.Popen[str]]:
    """Run a command with only these settings. Afterwards, kill it and all its children."""
    inherited = {
        k: v
        for k, v in os.environ.items()
        if k in ("PATH", "HOME", "SYSTEMROOT") or k.startswith("COVERAGE")
    }
    code = cwd if (cwd / "app").exists() else ROOT
    with subprocess.Popen(
        [*PYTHON, *command],
        cwd=cwd,
        env=inherited | {"PYTHONPATH": str(code)} | dict(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)


@contextmanager
def serving(database_url: str, **settings: str) -> Iterator[str]:
    """Run `serve` over plain HTTP on a test database, and yield its URL when it is ready."""
    port = str(free_port())
    defaults = {
        "ENVIRONMENT": "test",
        "COOKIE_SECURE": "false",
        "COOKIE_SAMESITE": "lax",
        "CORS_ORIGINS": ORIGIN,
        "DATABASE_TIMEOUT_SECONDS": str(HANG_SECONDS),
        "DATABASE_URL": database_url,
        "JWT_SECRET": SECRET,
        "LOG_LEVEL": "ERROR",
        "PORT": port,
    }
    with process("app", "serve", settings=defaults | settings) as child:
        wait_for(f"http://127.0.0.1:{port}/health/ready", child)
        yield f"http://127.0.0.1:{port}"


def wait_for(url: str, child: subprocess.Popen[str], status: int = 200) -> None:
    """Wait until a process responds. If it exits first, fail with its output."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()[0]
        try:
            if httpx.get(url).status_code == status:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{url} never responded with {status}")
