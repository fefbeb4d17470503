"""The development docker-compose.yml on a real Docker engine, with the project's own commands."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.projects import project_environment, python_of
from tests.real.base_images import POSTGRES, provide
from tests.real.stack import SLUG
from tests.support.commands import run
from tests.support.production import SECRET
from tests.support.servers import free_port, started
from tests.support.tools import give_up, require_root
from tests.support.variants import Answers

# A free port. The script keeps the server that initializes the database running for some seconds:
# the image's health check must not mistake it for the real server.
OVERRIDE = """
services:
  postgres:
    ports: !override ["127.0.0.1:{port}:5432"]
    configs: [{{source: slow, target: /docker-entrypoint-initdb.d/slow.sql}}]
configs:
  slow: {{content: SELECT pg_sleep(8)}}
"""


@pytest.fixture(scope="module")
def project(installed: Callable[[Answers], Path], why_no_docker: str | None) -> Path:
    """Return an installed project on a machine with Docker."""
    if why_no_docker is not None:
        require_root(why_no_docker)
        give_up(why_no_docker)
    provide(POSTGRES)
    return installed({"project_slug": SLUG})


@pytest.fixture
def database_url(project: Path) -> Iterator[str]:
    """Return the database's URL from the file, right after the documented command returns."""
    port = free_port()
    (project / "docker-compose.override.yml").write_text(OVERRIDE.format(port=port))
    (line,) = [
        it for it in (project / "docker-compose.yml").read_text().splitlines() if "5432/" in it
    ]
    url = line.partition("DATABASE_URL=")[2]
    compose = ["docker", "compose"]
    try:
        run([*compose, "up", "--detach", "--wait"], project)
        # This comes first, because after a slow command the real server would run in any case.
        run([*compose, "exec", "-T", "postgres", "pg_isready", "--host", "127.0.0.1"], project)
        yield url.replace("localhost:5432", f"localhost:{port}")
    finally:
        run([*compose, "down", "--volumes", "--timeout", "5"], project)


def test_project_migrates_and_serves_with_docker_compose(
    project: Path, database_url: str, tmp_path: Path
) -> None:
    environment = project_environment(
        DATABASE_URL=database_url, JWT_SECRET=SECRET, PORT=str(free_port())
    )
    app = [str(python_of(project)), "-m", "app"]
    run([*app, "migrate"], project, environment)
    with started([*app, "dev"], project, environment, tmp_path / "log") as server:
        server.wait_until_ready()
    assert not (project / ".postgres").exists()
