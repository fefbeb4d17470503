"""The pages that describe how to extend a project: after their steps, the project works."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.projects import project_environment
from tests.support.client import Browser
from tests.support.pages import follow
from tests.support.servers import Server, free_port, started, wait_until
from tests.support.variants import Answers

# The tests that a page adds, and the tests of migrations. Other tests of this suite run the rest.
QUICK = (
    "--ignore=tests/fuzz -m 'not slow' --no-cov "
    "-k 'projects or avatars or words or inbox or extension or passages or migrations or docs' "
    "-W 'ignore:Coverage disabled'"
)


@pytest.fixture
def project(installed: Callable[[Answers], Path]) -> Path:
    """Return an installed project with the default answers, which a test may change."""
    return installed({})


@pytest.fixture
def environment() -> dict[str, str]:
    return project_environment(
        PORT=str(free_port()), PYTEST_ADDOPTS=QUICK, PYTEST_XDIST_AUTO_NUM_WORKERS="0"
    )


@pytest.fixture
def server(project: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """Run `make dev` during a test."""
    with started(["make", "dev"], project, environment, tmp_path / "log") as server:
        server.wait_until_ready()
        yield server


def test_documented_steps_to_add_a_resource_work(
    project: Path, environment: dict[str, str], server: Server
) -> None:
    follow("docs/adding-a-resource.md", project, environment)

    wait_until(lambda: "/api/v1/projects" in paths(server), server.output)
    assert Browser(server.port).get("/api/v1/projects").status == 401
    assert Browser(server.port).get("/health/ready").status == 200


@pytest.mark.usefixtures("server")
def test_documented_steps_to_use_the_extension_points_work(
    project: Path, environment: dict[str, str]
) -> None:
    follow("docs/extension-points.md", project, environment)


def test_documented_steps_to_add_a_stream_work(
    project: Path, environment: dict[str, str], server: Server
) -> None:
    follow("docs/streaming.md", project, environment)

    wait_until(lambda: "/api/v1/inbox/events" in paths(server), server.output)


@pytest.mark.usefixtures("server")
def test_documented_steps_to_enable_pgvector_work(
    project: Path, environment: dict[str, str]
) -> None:
    follow("docs/pgvector.md", project, environment)


def paths(server: Server) -> list[str]:
    """Return the paths of the API, or an empty list while the server reloads."""
    try:
        return list(Browser(server.port).get("/openapi.json").body["paths"])
    except OSError:
        return []
