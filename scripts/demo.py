"""`make demo`: render a project into `.demo/`, create a user, and serve until Ctrl-C."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from copier import Settings, run_copy

from scripts.check_template import ROOT
from scripts.projects import project_environment, python_answer, python_of

DEMO: Final = ROOT / ".demo"
EMAIL: Final = "demo@example.com"
PASSWORD: Final = "just for this demo"  # noqa: S105 - of a user that exists only on this machine
START_SECONDS: Final = 180
STOP_SECONDS: Final = 30


def main() -> int:
    """Run the demo until it is interrupted, and return the exit code."""
    try:
        with served() as (server, port):
            api = f"http://localhost:{port}/api/v1"
            print(
                f"\n  Ready. API documentation: http://localhost:{port}/docs\n"
                f"\n  Sign in as {EMAIL} with the password: {PASSWORD}\n"
                f"\n  curl --cookie-jar .demo/cookies --data 'username={EMAIL}' "
                f"--data 'password={PASSWORD}' {api}/auth/login"
                f"\n  curl --cookie .demo/cookies {api}/users/me\n"
                "\n  Ctrl-C stops the demo.\n",
                flush=True,
            )
            return server.wait()
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0


@contextmanager
def served() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Render, install and serve a project with a user. Yield the server and its port.

    SIGTERM and SIGHUP also raise `KeyboardInterrupt` from now on, so that nothing keeps running.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    port = wanted_port()
    remove_old_demo()
    print("Rendering a project into .demo …", flush=True)
    render()
    print("Installing …", flush=True)
    environment = project_environment(PORT=str(port))
    run(["make", "install"], environment)
    app = [str(python_of(DEMO)), "-m", "app"]
    with started([*app, "dev"], environment) as server:
        if not is_ready(server, port):
            sys.exit("The backend did not become ready; its output is above.")
        run([*app, "create-user", EMAIL, "--password-stdin"], environment, text=PASSWORD)
        yield server, port


def wanted_port() -> int:
    """Return the port to serve on. Exit with one line if it is not available."""
    port = os.environ.get("PORT") or "8000"
    try:
        socket.create_server(("127.0.0.1", int(port))).close()
    except (OSError, OverflowError, ValueError):
        sys.exit(f"Port {port} is taken or invalid: use another one, as in PORT=8001 make demo")
    return int(port)


def remove_old_demo() -> None:
    """Remove the files of the last demo. Exit if that demo is still running."""
    with suppress(FileNotFoundError, ProcessLookupError):
        process = (DEMO / ".postgres" / "postmaster.pid").read_text().split()[0]
        os.kill(int(process), 0)
        sys.exit(f"A demo is still running in .demo (Postgres: process {process}): stop it first.")
    if DEMO.exists():
        shutil.rmtree(DEMO)


def render() -> None:
    """Render this work tree with the default answers and the version of this Python."""
    with warnings.catch_warnings(action="ignore"):  # Copier's, about a shallow or changed clone
        run_copy(
            str(ROOT),
            DEMO,
            {"python_version": python_answer()},
            vcs_ref="HEAD",
            settings=Settings(),
            defaults=True,
            quiet=True,
        )


def is_ready(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait for the server. Return False if it exits or takes too long to become ready."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    return False


@contextmanager
def started(
    command: Sequence[str], environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in the demo's folder, and stop it afterwards."""
    # In its own session, so that Ctrl-C reaches it only once, through this process.
    with subprocess.Popen(command, cwd=DEMO, env=environment, start_new_session=True) as process:
        try:
            yield process
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def run(command: Sequence[str], environment: dict[str, str], text: str | None = None) -> None:
    """Run a command in the demo's folder. If it fails, exit with its output."""
    result = subprocess.run(
        command,
        cwd=DEMO,
        env=environment,
        input=text,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if result.returncode:
        sys.exit(f"{result.stdout}\n{' '.join(command)} failed ({result.returncode}).")


if __name__ == "__main__":
    sys.exit(main())
