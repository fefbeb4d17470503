"""The installed project in production: its endpoints, and replicas of it on a database."""

import itertools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from scripts.projects import project_environment, python_of
from tests.support.client import Browser
from tests.support.commands import run
from tests.support.postgres import Postgres
from tests.support.servers import Server, free_port, started

AUTH = "/api/v1/auth"
LOGIN = f"{AUTH}/login"
LOGOUT = f"{AUTH}/logout"
REFRESH = f"{AUTH}/refresh"
ME = "/api/v1/users/me"
EMAIL = "ada@example.com"
PASSWORD = "a passphrase for tests"
CREDENTIALS = {"username": EMAIL, "password": PASSWORD}
SECRET = "3kVZx0TqY7mB5cWn2RfJ8hLs6PdGa9Eu"
LOCK_USER = f"SELECT FROM users WHERE email = '{EMAIL}' FOR NO KEY UPDATE"

NUMBERS = itertools.count(1)


@dataclass
class Site:
    """The project in production with its own database.

    settings: the settings of all replicas.
    """

    project: Path
    postgres: Postgres
    database: str
    folder: Path
    settings: dict[str, str]

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of one process with additional settings."""
        url = self.postgres.url(self.database)
        return project_environment() | {"DATABASE_URL": url} | self.settings | settings

    def serve(self, **settings: str) -> AbstractContextManager[Server]:
        """Start a replica on its own port."""
        environment = self.environment(**{"PORT": str(free_port())} | settings)
        command: list[str | Path] = [python_of(self.project), "-m", "app", "serve"]
        log = self.folder / f"replica-{next(NUMBERS)}.log"
        return started(command, self.project, environment, log)

    def migrate(self, release: Path) -> None:
        """Migrate the database with the code of another release."""
        run([python_of(self.project), "-m", "app", "migrate"], release, self.environment())

    def create_user(self, email: str) -> None:
        """Create a user with the same password as the first one."""
        app: list[str | Path] = [python_of(self.project), "-m", "app"]
        app += ["create-user", email, "--password-stdin"]
        run(app, self.project, self.environment(), text=PASSWORD)

    def sign_in(self, server: Server) -> Browser:
        """Return a browser that is signed in."""
        browser = Browser(server.port)
        response = browser.post(LOGIN, CREDENTIALS)
        assert response.status == 200, response.body
        return browser

    def query(self, sql: str) -> str:
        """Run SQL on the database."""
        return self.postgres.query(sql, self.database)

    def connections(self, condition: str = "true") -> int:
        """Return the number of connections to the database, optionally with a condition."""
        own = f"WHERE datname = '{self.database}' AND ({condition})"
        count = f"SELECT count(*) FROM pg_stat_activity {own}"  # noqa: S608
        return int(self.postgres.query(count))

    def waiting_for_a_lock(self, application: str = "%") -> int:
        """Return the number of connections, optionally of one application, that wait for a lock."""
        return self.connections(
            f"wait_event_type = 'Lock' AND application_name LIKE '{application}'"
        )
