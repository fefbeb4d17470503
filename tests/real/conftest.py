"""An installed project, a Postgres server that tests can stop, and replicas of the project."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Playwright

from scripts.projects import project_environment, python_of
from tests.real.chromium import chromium
from tests.real.docker import docker_engine
from tests.real.frontend import build, make_frontend
from tests.real.images import Engine, find_engine
from tests.real.mail_server import MailServer, mail_server_of
from tests.real.websites import ANSWERS, backends, websites
from tests.support.commands import run
from tests.support.postgres import Postgres, folder_for_other_user, programs_of
from tests.support.production import EMAIL, NUMBERS, PASSWORD, SECRET, Site
from tests.support.servers import Server
from tests.support.variants import Answers

MIGRATED = "migrated"
ACCESS_SECONDS = 3  # in the browser tests, which wait until the access token has expired


@pytest.fixture(scope="session")
def why_no_docker() -> Iterator[str | None]:
    """Run a Docker engine if this machine has none. Return why there is none, or None."""
    with docker_engine() as reason:
        yield reason


@pytest.fixture(scope="session")
def engine(why_no_docker: str | None) -> Engine:
    """Return the engine that builds images on this machine."""
    return find_engine(why_no_docker)


@pytest.fixture(scope="session")
def project(installed: Callable[[Answers], Path]) -> Path:
    """Return an installed project with the default answers."""
    return installed({})


@pytest.fixture(scope="session")
def postgres(project: Path) -> Iterator[Postgres]:
    """Return a Postgres server for all tests. A test that stops it must start it again."""
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
    """Return the settings of a production server with a database timeout of five seconds."""
    return {
        "ENVIRONMENT": "production",
        "JWT_SECRET": SECRET,
        "DATABASE_TIMEOUT_SECONDS": "5",
        "LOGIN_THROTTLE_ENABLED": "false",
    }


@pytest.fixture(scope="session")
def migrated(project: Path, postgres: Postgres, settings: dict[str, str]) -> str:
    """Return the name of a migrated database with a user, which tests copy."""
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
    """Return the project on a migrated database with a user, which only this test uses."""
    name = f"test_{next(NUMBERS)}"
    postgres.create_database(name, migrated)
    yield Site(project, postgres, name, tmp_path, dict(settings))
    postgres.query(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def replica(site: Site) -> Iterator[Server]:
    """Return one replica that is ready."""
    with site.serve() as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def replicas(site: Site) -> Iterator[list[Server]]:
    """Return two replicas that are ready."""
    with ExitStack() as stack:
        servers = [stack.enter_context(site.serve()) for _ in range(2)]
        for server in servers:
            server.wait_until_ready()
        yield servers


@pytest.fixture(scope="session")
def frontend(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a browser app that follows docs/frontend.md."""
    folder = tmp_path_factory.mktemp("frontend")
    make_frontend(project, folder)
    return folder


@pytest.fixture(scope="session")
def mail_server(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    """Return an SMTP server that keeps each message."""
    with mail_server_of(project, tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture(scope="session")
def sites_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the logs of the web sites and of their backends."""
    return tmp_path_factory.mktemp("sites")


@pytest.fixture(scope="session")
def databases(postgres: Postgres, migrated: str) -> dict[str, str]:
    """Return the name of the database for each answer, with the same user."""
    names = {answer: f"browser_{answer}" for answer in ANSWERS}
    for name in names.values():
        postgres.create_database(name, migrated)
    return names


@pytest.fixture(scope="session")
def https_port(
    project: Path,
    postgres: Postgres,
    databases: dict[str, str],
    settings: dict[str, str],
    frontend: Path,
    mail_server: MailServer,
    sites_folder: Path,
) -> Iterator[int]:
    """Return the port of the web sites with the app, and with a backend for each answer."""
    environment = project_environment() | settings
    environment["JWT_ACCESS_TTL_SECONDS"] = str(ACCESS_SECONDS)
    environment["SIGNUP_MODE"] = "email"
    environment["SMTP_URL"] = mail_server.url
    environment["MAIL_FROM"] = "no-reply@example.com"
    urls = {answer: postgres.url(name) for answer, name in databases.items()}
    dist = build(frontend)
    with (
        backends(project, environment, urls, sites_folder) as servers,
        websites(sites_folder, dist, servers) as port,
    ):
        yield port


@pytest.fixture(scope="module")
def browser(https_port: int) -> Iterator[tuple[Playwright, Chromium]]:
    """Return Playwright, and a Chromium that only finds these web sites."""
    with chromium(https_port) as both:
        yield both


@pytest.fixture
def person(browser: tuple[Playwright, Chromium]) -> Iterator[BrowserContext]:
    """Return a new browser without cookies. Its tabs share cookies."""
    context = browser[1].new_context(ignore_https_errors=True)
    yield context
    context.close()
