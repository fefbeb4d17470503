"""An installed project, a Postgres that may break, and replicas of the project on it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hooks.projects import project_environment, python_of
from tests.commands import run
from tests.postgres import Postgres, folder_for_other_user, programs_of
from tests.production import EMAIL, NUMBERS, PASSWORD, SECRET, Site
from tests.servers import Server
from tests.variants import Answers

MIGRATED = "migrated"


@pytest.fixture(scope="session")
def project(installed: Callable[[Answers], Path]) -> Path:
    """Give the defaults, installed."""
    return installed({})


@pytest.fixture(scope="session")
def postgres(project: Path) -> Iterator[Postgres]:
    """Give a Postgres for all the tests; whoever stops it starts it again."""
    with folder_for_other_user() as folder:
        server = Postgres(programs_of(project), folder)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def settings() -> dict[str, str]:
    """Give the settings of a production whose database may be away for a second, not longer."""
    return {
        "ENVIRONMENT": "production",
        "JWT_SECRET": SECRET,
        "DATABASE_TIMEOUT_SECONDS": "1",
        "LOGIN_THROTTLE_ENABLED": "false",
    }


@pytest.fixture(scope="session")
def migrated(project: Path, postgres: Postgres, settings: dict[str, str]) -> str:
    """Give the name of a migrated database with a user, to be copied."""
    postgres.create_database(MIGRATED)
    environment = project_environment() | settings | {"DATABASE_URL": postgres.url(MIGRATED)}
    app = [str(python_of(project)), "-m", "app"]
    run([*app, "migrate"], project, environment)
    run([*app, "create-user", EMAIL, "--password-stdin"], project, environment, text=PASSWORD)
    return MIGRATED


@pytest.fixture
def site(
    project: Path,
    postgres: Postgres,
    migrated: str,
    settings: dict[str, str],
    tmp_path: Path,
) -> Iterator[Site]:
    """Give the project on a migrated database of the test's own, which has a user."""
    name = f"test_{next(NUMBERS)}"
    postgres.create_database(name, migrated)
    yield Site(project, postgres, name, tmp_path, dict(settings))
    postgres.query(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def replica(site: Site) -> Iterator[Server]:
    """Give one replica that is ready."""
    with site.serve() as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def replicas(site: Site) -> Iterator[list[Server]]:
    """Give two replicas that are ready."""
    with ExitStack() as stack:
        servers = [stack.enter_context(site.serve()) for _ in range(2)]
        for server in servers:
            server.wait_until_ready()
        yield servers
