"""`serve`, `dev` and plain Uvicorn as what they are in real life: processes that get signals."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import SECRET
from tests.postgres import database_url, folder_for_postgres
from tests.processes import PYTHON, ROOT, START_SECONDS, free_port, process, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(test_database: str) -> dict[str, str]:
    """Return the environment of a deployment."""
    return {"DATABASE_URL": test_database, "JWT_SECRET": SECRET, "PORT": str(free_port())}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_drains(settings: dict[str, str], workers: str) -> None:
    url = f"http://127.0.0.1:{settings['PORT']}"
    settings |= {"WEB_CONCURRENCY": workers, "SHUTDOWN_DELAY_SECONDS": "300"}
    with process("app", "serve", settings=settings) as child:
        wait_for(f"{url}/health/ready", child)

        child.send_signal(signal.SIGTERM)
        wait_for(f"{url}/health/ready", child, status=503)
        assert httpx.get(f"{url}/health", timeout=START_SECONDS).status_code == 200
        head = httpx.head(f"{url}/health/ready", timeout=START_SECONDS)
        assert (head.status_code, head.content) == (503, b"")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_ends_well_after_the_delay(settings: dict[str, str], workers: str) -> None:
    settings |= {"WEB_CONCURRENCY": workers, "SHUTDOWN_DELAY_SECONDS": "0.5"}
    with process("app", "serve", settings=settings) as child:
        wait_for(f"http://127.0.0.1:{settings['PORT']}/health/ready", child)

        child.send_signal(signal.SIGTERM)
        output, _ = child.communicate(timeout=START_SECONDS)

        assert child.returncode == 0, output
        assert "Traceback" not in output


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("command", [("app", "serve"), ("uvicorn", "app.main:app")])
def test_wrong_settings_end_the_start_with_a_line_each(
    command: tuple[str, ...], workers: str, tmp_path: Path
) -> None:
    with process(*command, settings={"WEB_CONCURRENCY": workers}, cwd=tmp_path) as child:
        output, _ = child.communicate(timeout=START_SECONDS)

    assert "DATABASE_URL is missing" in output
    assert "JWT_SECRET is missing" in output
    assert "Traceback" not in output
    if command[0] == "app" or workers == "1":
        assert child.returncode == 2


def test_plain_uvicorn_serves(settings: dict[str, str]) -> None:
    port = settings["PORT"]
    with process("uvicorn", "app.main:app", "--port", port, settings=settings) as child:
        wait_for(f"http://127.0.0.1:{port}/health/ready", child)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=START_SECONDS)


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_port_that_is_taken_is_one_line(
    settings: dict[str, str], command: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("ENVIRONMENT=local\n")
    with (
        socket.create_server(("127.0.0.1", int(settings["PORT"]))),
        process("app", command, settings=settings, cwd=tmp_path) as child,
    ):
        output, _ = child.communicate(timeout=START_SECONDS)

    assert child.returncode == 1
    assert output.startswith(f"Can't listen on 127.0.0.1:{settings['PORT']}")
    assert output.count("\n") == 1


def test_workers_that_can_not_start_end_the_parent_with_an_error(
    settings: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "app", tmp_path / "app")  # without alembic.ini nothing starts
    settings |= {"WEB_CONCURRENCY": "2"}
    with process("app", "serve", settings=settings, cwd=tmp_path) as child:
        output, _ = child.communicate(timeout=START_SECONDS)

    assert child.returncode == 3, output


def test_without_a_terminal_create_user_says_what_to_do(settings: dict[str, str]) -> None:
    command = ("app", "create-user", "ada@example.com")
    with process(*command, settings=settings | {"ENVIRONMENT": "test"}) as child:
        output, _ = child.communicate(timeout=START_SECONDS)

    assert child.returncode == 1
    assert output.splitlines() == [
        "The password needs at least 15 characters.",
        "There is no terminal to ask for a password; use --password-stdin.",
    ]


def test_a_reader_that_has_enough_is_no_traceback() -> None:
    command = [*PYTHON, "app", "openapi"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        assert child.stderr.read() == ""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that Postgres may enter, which never runs as root."""
    with folder_for_postgres() as folder:
        yield folder


def test_dev_outside_the_project_says_where_to_go(folder: Path) -> None:
    with process("app", "dev", settings={}, cwd=folder) as child:
        output, _ = child.communicate(timeout=START_SECONDS)

    assert child.returncode == 1
    assert output == "There is no env.example here: run this in the project's folder.\n"


def test_dev_does_everything_and_leaves_nothing_running(folder: Path) -> None:
    shutil.copy(ROOT / "env.example", folder)
    port = str(free_port())
    with process("app", "migrate", settings={}, cwd=folder) as child:  # before there is any .env
        output, _ = child.communicate(timeout=START_SECONDS)
        assert child.returncode == 0, output
    with process("app", "dev", settings={"PORT": port}, cwd=folder) as child:
        wait_for(f"http://127.0.0.1:{port}/health/ready", child)
        postgres = folder / ".postgres/postmaster.pid"
        assert postgres.exists()

        os.killpg(child.pid, signal.SIGINT)
        output, _ = child.communicate(timeout=START_SECONDS)

    assert f"http://localhost:{port}/docs" in output
    assert (folder / ".env").stat().st_mode & 0o077 == 0
    assert "JWT_SECRET=\n" not in (folder / ".env").read_text()
    assert not postgres.exists()


def test_dev_takes_a_changed_env_and_survives_a_broken_one(
    test_database: str, worker_id: str, tmp_path: Path
) -> None:
    env = tmp_path / ".env"
    port = str(free_port())
    lines = f"ENVIRONMENT=local\nCOOKIE_SECURE=false\nJWT_SECRET={SECRET}\nPORT={port}\n"
    first = f"{lines}DATABASE_URL={test_database}\n"
    env.write_text(first)
    docs = f"http://127.0.0.1:{port}/docs"
    with process("app", "dev", settings={}, cwd=tmp_path) as child:
        wait_for(docs, child)
        env.write_text(f"{first}DOCS_ENABLED=false\n")
        wait_for(docs, child, status=404)

        env.write_text(first.replace(SECRET, "short"))
        wait_for_line(child, "JWT_SECRET is shorter than 32 bytes")
        wait_for_line(child, "the server goes on as before")
        assert httpx.get(docs).status_code == 404
        env.write_text(first.replace("=local", "=production").replace("=false", "=true"))
        wait_for_line(child, "ENVIRONMENT is production, and dev is for a developer's machine")

        # A mended one, with a database that is migrated first; it replaces the file.
        other = database_url(f"{worker_id}_dev")
        (tmp_path / "new").write_text(f"{lines}DATABASE_URL={other}\n")
        (tmp_path / "new").replace(env)
        wait_for_line(child, "Running upgrade")
        wait_for(docs, child)
        wait_for(f"http://127.0.0.1:{port}/health/ready", child)


def wait_for_line(child: subprocess.Popen[str], text: str) -> None:
    """Read what a process prints until there is a line with the text."""
    end = threading.Timer(START_SECONDS, os.killpg, (child.pid, signal.SIGKILL))
    end.start()
    assert child.stdout is not None
    for line in child.stdout:
        if text in line:
            end.cancel()
            return
    raise AssertionError(f"{text!r} was never printed")
