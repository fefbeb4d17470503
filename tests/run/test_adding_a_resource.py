"""The pages that show how to extend a project: followed step by step, they end with all green."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hooks.projects import project_environment
from tests.client import Browser
from tests.pages import follow
from tests.servers import Server, free_port, started, wait_until
from tests.variants import Answers

# What a page adds, and what proves it against the database; the rest of the suite runs elsewhere.
QUICK = (
    "--ignore=tests/fuzz -m 'not slow' --no-cov "
    "-k 'projects or avatars or words or extension or passages or migrations or docs' "
    "-W 'ignore:Coverage disabled'"
)


@pytest.fixture
def project(installed: Callable[[Answers], Path]) -> Path:
    """Return the defaults, installed, to be changed."""
    return installed({})


@pytest.fixture
def environment() -> dict[str, str]:
    return project_environment(
        PORT=str(free_port()), PYTEST_ADDOPTS=QUICK, PYTEST_XDIST_AUTO_NUM_WORKERS="0"
    )


@pytest.fixture
def server(project: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """Return `make dev`, which runs beside everything else."""
    with started(["make", "dev"], project, environment, tmp_path / "log") as server:
        server.wait_until_ready()
        yield server


def test_adding_a_resource_ends_green(
    project: Path, environment: dict[str, str], server: Server
) -> None:
    follow("docs/adding-a-resource.md", project, environment)

    wait_until(lambda: "/api/v1/projects" in paths(server), server.output)
    assert Browser(server.port).get("/api/v1/projects").status == 401
    assert Browser(server.port).get("/health/ready").status == 200


@pytest.mark.usefixtures("server")
def test_implementing_the_extension_points_ends_green(
    project: Path, environment: dict[str, str]
) -> None:
    follow("docs/extension-points.md", project, environment)


@pytest.mark.usefixtures("server")
def test_enabling_pgvector_ends_green(project: Path, environment: dict[str, str]) -> None:
    follow("docs/pgvector.md", project, environment)


def paths(server: Server) -> list[str]:
    """Return the paths of the API; none while the server reloads."""
    try:
        return list(Browser(server.port).get("/openapi.json").body["paths"])
    except OSError:
        return []
