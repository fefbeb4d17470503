"""`serve`, `dev` and plain Uvicorn as what they are in real life: processes that get signals."""

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import SECRET
from tests.postgres import folder_for_postgres
from tests.processes import ROOT, START_SECONDS, free_port, process, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(test_database: str) -> dict[str, str]:
    """The environment of a deployment."""
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


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Postgres, which never runs as root, may enter; pytest's own it may not."""
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
