"""`serve`, `dev` and plain Uvicorn as real processes that receive signals."""

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
def test_serve_responds_but_is_not_ready_while_it_drains(
    settings: dict[str, str], workers: str
) -> None:
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
def test_serve_exits_with_0_after_the_shutdown_delay(
    settings: dict[str, str], workers: str
) -> None:
    settings |= {"WEB_CONCURRENCY": workers, "SHUTDOWN_DELAY_SECONDS": "0.5"}
    with process("app", "serve", settings=settings) as child:
        wait_for(f"http://127.0.0.1:{settings['PORT']}/health/ready", child)

        child.send_signal(signal.SIGTERM)
        output, _ = child.communicate(timeout=START_SECONDS)

        assert child.returncode == 0, output
        assert "Traceback" not in output


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("command", [("app", "serve"), ("uvicorn", "app.main:app")])
def test_missing_settings_stop_the_start_with_one_line_each(
    command: tuple[str, ...], workers: str, tmp_path: Path
) -> None:
    with process(*command, settings={"WEB_CONCURRENCY": workers}, cwd=tmp_path) as child:
        output, _ = child.communicate(timeout=START_SECONDS)

    assert "DATABASE_URL is missing" in output
    assert "JWT_SECRET is missing" in output
    assert "Traceback" not in output
    if command[0] == "app" or workers == "1":
        assert child.returncode == 2


def test_plain_uvicorn_serves_the_application(settings: dict[str, str]) -> None:
    port = settings["PORT"]
    with process("uvicorn", "app.main:app", "--port", port, settings=settings) as child:
        wait_for(f"http://127.0.0.1:{port}/health/ready", child)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=START_SECONDS)


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_taken_port_prints_one_line(settings: dict[str, str], command: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ENVIRONMENT=local\n")
    with (
        socket.create_server(("127.0.0.1", int(settings["PORT"]))),
        process("app", command, settings=settings, cwd=tmp_path) as child,
    ):
        output, _ = child.communicate(timeout=START_SECONDS)

    assert child.returncode == 1
    assert output.startswith(f"Can't listen on 127.0.0.1:{settings['PORT']}")
    assert output.count("\n") == 1


def test_parent_exits_with_an_error_if_its_workers_cannot_start(
    settings: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "app", tmp_path / "app")  # without alembic.ini nothing starts
    settings |= {"WEB_CONCURRENCY": "2"}
    with process("app", "serve", settings=settings, cwd=tmp_path) as child:
        output, _ = child.communicate(timeout=START_SECONDS)

    assert child.returncode == 3, output


def test_create_user_without_a_terminal_explains_what_to_do(settings: dict[str, str]) -> None:
    command = ("app", "create-user", "ada@example.com")
    with process(*command, settings=settings | {"ENVIRONMENT": "test"}) as child:
        output, _ = child.communicate(timeout=START_SECONDS)

    assert child.returncode == 1
    assert output.splitlines() == [
        "The password needs at least 15 characters.",
        "There is no terminal to ask for a password; use --password-stdin.",
    ]


def test_closed_pipe_causes_no_traceback() -> None:
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
    """Return a folder that Postgres can enter. Postgres never runs as root."""
    with folder_for_postgres() as folder:
        yield folder


def test_dev_outside_the_project_explains_where_to_run_it(folder: Path) -> None:
    with process("app", "dev", settings={}, cwd=folder) as child:
        output, _ = child.communicate(timeout=START_SECONDS)

    assert child.returncode == 1
    assert output == "There is no env.example here: run this in the project's folder.\n"


def test_dev_starts_everything_and_leaves_nothing_running(folder: Path) -> None:
    shutil.copy(ROOT / "env.example", folder)
    port = str(free_port())
    with process("app", "migrate", settings={}, cwd=folder) as child:  # before .env exists
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


def test_dev_applies_a_changed_dotenv_and_survives_an_invalid_one(
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

        # A valid file with another database, which is migrated first, replaces the file.
        other = database_url(f"{worker_id}_dev")
        (tmp_path / "new").write_text(f"{lines}DATABASE_URL={other}\n")
        (tmp_path / "new").replace(env)
        wait_for_line(child, "Running upgrade")
        wait_for(docs, child)
        wait_for(f"http://127.0.0.1:{port}/health/ready", child)


def wait_for_line(child: subprocess.Popen[str], text: str) -> None:
    """Read the output of a process until a line contains the text."""
    end = threading.Timer(START_SECONDS, os.killpg, (child.pid, signal.SIGKILL))
    end.start()
    assert child.stdout is not None
    for line in child.stdout:
        if text in line:
            end.cancel()
            return
    raise AssertionError(f"{text!r} was never printed")
