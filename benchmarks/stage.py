"""The setup of the measurements: an installed default project, Postgres and references."""

import itertools
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import rows
from scripts.projects import project_environment, python_answer, python_of
from tests.support.client import Browser
from tests.support.commands import COPIER, run
from tests.support.postgres import Postgres, folder_for_other_user, programs_of
from tests.support.production import REFRESH, SECRET, Site
from tests.support.rendering import make_release
from tests.support.servers import Server, free_port, started, wait_until

HERE: Final = Path(__file__).parent
REFERENCES: Final = HERE / "references"
SLUG: Final = "my-backend"
SMALL: Final = "small"
SMALL_USERS: Final = 1000
ACCESS_COOKIE: Final = "__Host-access"
REFRESH_COOKIE: Final = "__Host-refresh"
PROBES: Final = HERE / "probes"
# The same options as in `serve`.
UVICORN: Final = ("--no-access-log", "--log-level=warning", "--no-server-header", "--ws=none")
NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True)
class Stage:
    """The parts of the setup.

    site: the project in production, on a small database with rows. tokens: current refresh tokens
    in that database, each of a different user, for one use each.
    """

    folder: Path
    release: Path
    project: Path
    postgres: Postgres
    site: Site
    tokens: Iterator[str]

    def app(self, **settings: str) -> AbstractContextManager[Server]:
        """Start the application with `serve`, and wait until it is ready."""
        return ready(self.site.serve(**settings), "/health/ready")

    def reference(self, module: str, **settings: str) -> AbstractContextManager[Server]:
        """Start a reference, such as `bare_fastapi`, on the same database."""
        port = str(free_port())
        environment = self.site.environment(PORT=port, PROJECT_SLUG=SLUG, **settings)
        command: list[str | Path] = [
            python_of(self.project),
            "-m",
            "uvicorn",
            f"{module}:app",
            *UVICORN,
        ]
        command += [f"--app-dir={REFERENCES}", f"--port={port}"]
        log = self.folder / f"reference-{next(NUMBERS)}.log"
        return ready(started(command, self.project, environment, log), "/health")

    def probe(self, name: str, *arguments: str, **settings: str) -> Any:
        """Run a probe with the project's Python, and return the JSON in its last line of output."""
        environment = self.site.environment(PYTHONPATH=str(self.project), **settings)
        command: list[str | Path] = [python_of(self.project), PROBES / f"{name}.py", *arguments]
        return json.loads(run(command, self.project, environment).splitlines()[-1])


@contextmanager
def ready(server: AbstractContextManager[Server], path: str) -> Iterator[Server]:
    """Start a server, and wait until it is ready."""
    with server as it:
        # A reference that does not know the path responds with 401.
        wait_until(lambda: it.responds(path, 200) or it.responds(path, 401), it.output, 60)
        yield it


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Render the default project into a folder, install it, and fill a database."""
    release, project = folder / "release", folder / "project"
    make_release(release)
    render(release, project)
    run(["make", "install"], project, project_environment())
    settings = {
        "ENVIRONMENT": "production",
        "JWT_SECRET": SECRET,
        "LOGIN_THROTTLE_ENABLED": "false",  # otherwise, the sixth login is rejected
        "REFRESH_GRACE_SECONDS": "0",  # otherwise, most refreshes do not rotate
    }
    with folder_for_other_user() as data:
        postgres = Postgres(programs_of(project), data)
        postgres.create()
        postgres.start()
        try:
            site = Site(project, postgres, SMALL, folder, settings)
            # The first user is reserved for logins.
            tokens = (rows.live_token(rows.first_session(it)) for it in range(2, SMALL_USERS))
            it = Stage(folder, release, project, postgres, site, tokens)
            postgres.create_database(SMALL)
            site.migrate(project)
            password_hash = it.probe("hashing")["hash"]
            site.query(rows.fill(1, SMALL_USERS, password_hash) + "ANALYZE")
            yield it
        finally:
            postgres.stop()


def render(template: Path, project: Path) -> None:
    """Render a project with Copier, the default answers and the version of this Python."""
    answers = ["--defaults", f"--data=python_version={python_answer()}", "--vcs-ref=HEAD"]
    run([*COPIER, "copy", "--quiet", *answers, template, project], template)


def access_cookie(stage: Stage, server: Server) -> dict[str, str]:
    """Return the request header of an authenticated user."""
    browser = Browser(server.port, {REFRESH_COOKIE: next(stage.tokens)})
    assert browser.post(REFRESH).status == 204
    return {"Cookie": f"{ACCESS_COOKIE}={browser.cookies[ACCESS_COOKIE]}"}
