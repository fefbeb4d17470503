"""An installed project, a Postgres that may break, and replicas of the project on it."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from hooks.projects import project_environment, python_of
from tests.client import Browser
from tests.commands import run
from tests.postgres import Postgres, folder_for_other_user, programs_of
from tests.servers import Server, free_port, started
from tests.variants import Answers

AUTH = "/api/v1/auth"
LOGIN = f"{AUTH}/login"
LOGOUT = f"{AUTH}/logout"
REFRESH = f"{AUTH}/refresh"
ME = "/api/v1/users/me"
EMAIL = "ada@example.com"
PASSWORD = "a passphrase for tests"
CREDENTIALS = {"username": EMAIL, "password": PASSWORD}
SECRET = "3kVZx0TqY7mB5cWn2RfJ8hLs6PdGa9Eu"
MIGRATED = "migrated"
LOCK_USER = f"SELECT FROM users WHERE email = '{EMAIL}' FOR NO KEY UPDATE"

NUMBERS = itertools.count(1)


@dataclass
class Site:
    """The project in production, on a database of its own.

    settings: what all replicas have in common.
    """

    project: Path
    postgres: Postgres
    database: str
    folder: Path
    settings: dict[str, str]

    def environment(self, **settings: str) -> dict[str, str]:
        """Give the environment of one process, with settings of its own."""
        url = self.postgres.url(self.database)
        return project_environment() | {"DATABASE_URL": url} | self.settings | settings

    def serve(self, **settings: str) -> AbstractContextManager[Server]:
        """Start a replica, on a port of its own."""
        environment = self.environment(**{"PORT": str(free_port())} | settings)
        command: list[str | Path] = [python_of(self.project), "-m", "app", "serve"]
        log = self.folder / f"replica-{next(NUMBERS)}.log"
        return started(command, self.project, environment, log)

    def migrate(self, release: Path) -> None:
        """Migrate with the code of another release."""
        run([python_of(self.project), "-m", "app", "migrate"], release, self.environment())

    def sign_in(self, server: Server) -> Browser:
        """Give a browser that is signed in."""
        browser = Browser(server.port)
        answer = browser.post(LOGIN, CREDENTIALS)
        assert answer.status == 200, answer.body
        return browser

    def query(self, sql: str) -> str:
        """Run SQL on the database."""
        return self.postgres.query(sql, self.database)

    def connections(self, condition: str = "true") -> int:
        """Give how many connections to the database there are, or those of some condition."""
        own = f"WHERE datname = '{self.database}' AND ({condition})"
        count = f"SELECT count(*) FROM pg_stat_activity {own}"  # noqa: S608
        return int(self.postgres.query(count))

    def waiting_for_a_lock(self, application: str = "%") -> int:
        """Give how many connections, or those of one application, wait for a lock."""
        return self.connections(
            f"wait_event_type = 'Lock' AND application_name LIKE '{application}'"
        )


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
