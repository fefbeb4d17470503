"""What is measured on: the default project, installed, on a Postgres, and the references."""

import itertools
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import rows
from hooks.projects import project_environment, python_answer, python_of
from tests.client import Browser
from tests.commands import COPIER, run
from tests.postgres import Postgres, folder_for_other_user, programs_of
from tests.production import REFRESH, SECRET, Site
from tests.rendering import make_release
from tests.servers import Server, free_port, started, wait_until

HERE: Final = Path(__file__).parent
REFERENCES: Final = HERE / "references"
SLUG: Final = "my-backend"
SMALL: Final = "small"
SMALL_USERS: Final = 1000
ACCESS_COOKIE: Final = "__Host-access"
REFRESH_COOKIE: Final = "__Host-refresh"
PROBES: Final = HERE / "probes"
# As `serve` sets it.
UVICORN: Final = ("--no-access-log", "--log-level=warning", "--no-server-header", "--ws=none")
NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True)
class Stage:
    """The pieces.

    site: the project in production, on a small database that has been filled.
    tokens: live refresh tokens there, each of another user, to be used once.
    """

    folder: Path
    release: Path
    project: Path
    postgres: Postgres
    site: Site
    tokens: Iterator[str]

    def app(self, **settings: str) -> AbstractContextManager[Server]:
        """Start the application as `serve` does, and return once it is ready."""
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
        """Run a probe by the project's Python; gives what it says last, which is JSON."""
        environment = self.site.environment(PYTHONPATH=str(self.project), **settings)
        command: list[str | Path] = [python_of(self.project), PROBES / f"{name}.py", *arguments]
        return json.loads(run(command, self.project, environment).splitlines()[-1])


@contextmanager
def ready(server: AbstractContextManager[Server], path: str) -> Iterator[Server]:
    """Wait for a server that has been started."""
    with server as it:
        # Any answer will do of a reference that does not know the path.
        wait_until(lambda: it.answers(path, 200) or it.answers(path, 401), it.output, 60)
        yield it


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Render the defaults into a folder, install them, and fill a database."""
    release, project = folder / "release", folder / "project"
    make_release(release)
    render(release, project)
    run(["make", "install"], project, project_environment())
    settings = {
        "ENVIRONMENT": "production",
        "JWT_SECRET": SECRET,
        "LOGIN_THROTTLE_ENABLED": "false",  # else the sixth login is refused
        "REFRESH_GRACE_SECONDS": "0",  # else most refreshes repeat the answer of the last one
    }
    with folder_for_other_user() as data:
        postgres = Postgres(programs_of(project), data)
        postgres.create()
        postgres.start()
        try:
            site = Site(project, postgres, SMALL, folder, settings)
            # The first user is the one that logs in.
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
    """Let Copier make a project, with the defaults, for the Python at hand."""
    answers = ["--defaults", f"--data=python_version={python_answer()}", "--vcs-ref=HEAD"]
    run([*COPIER, "copy", "--quiet", *answers, template, project], template)


def access_cookie(stage: Stage, server: Server) -> dict[str, str]:
    """Return the header of somebody who is signed in."""
    browser = Browser(server.port, {REFRESH_COOKIE: next(stage.tokens)})
    assert browser.post(REFRESH).status == 204
    return {"Cookie": f"{ACCESS_COOKIE}={browser.cookies[ACCESS_COOKIE]}"}
