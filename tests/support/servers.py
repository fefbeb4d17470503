"""Start and stop a project's processes."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from tests.support.client import HANG_SECONDS, Browser

START_SECONDS = HANG_SECONDS
STOP_SECONDS = HANG_SECONDS


@dataclass(frozen=True)
class Server:
    """A process that serves on a port, and prints to a file."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def wait_until_ready(self) -> None:
        """Return when it is ready. Fail with its output if it exits or takes too long."""

        def is_ready() -> bool:
            assert self.process.poll() is None, self.output()
            return self.responds("/health/ready", 200)

        wait_until(is_ready, self.output, START_SECONDS)

    def responds(self, path: str, status: int) -> bool:
        """Return whether a GET request gets a response with this status."""
        try:
            return Browser(self.port).get(path).status == status
        except (OSError, HTTPException):
            return False

    def stop(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code. Raise `subprocess.TimeoutExpired`."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def output(self) -> str:
        """Return its output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def started(
    command: Sequence[str | Path],
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
    user: str | None = None,
    *,
    terminal: bool = False,
) -> Iterator[Server]:
    """Run a server on the port of `PORT`, and stop it if it still runs when the block ends.

    user: the user that runs it, by default the current one.
    terminal: whether it leads its own session, as in a separate terminal, so that signals reach all
    its processes and no others.
    """
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            user=user,
            start_new_session=terminal,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        server = Server(process, int(environment["PORT"]), log)
        try:
            yield server
        finally:
            if process.poll() is None:
                try:
                    server.stop(signal.SIGTERM)
                except subprocess.TimeoutExpired:
                    process.kill()


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until(
    condition: Callable[[], bool], message: str | Callable[[], str], seconds: float = HANG_SECONDS
) -> None:
    """Return when a condition is true. Fail with the message if it takes too long."""
    __tracebackhide__ = True
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(message if isinstance(message, str) else message())
        time.sleep(0.05)


def can_connect(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a process listens on a port."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
