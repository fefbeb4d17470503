"""The image of each package manager: built from a locked project, and run like on a platform."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from scripts.projects import find_python, project_environment
from tests.real.base_images import PYTHON
from tests.real.images import Engine, Image
from tests.support.client import Browser
from tests.support.commands import run
from tests.support.embedded import held_database
from tests.support.installing import POETRY_INDEX, install_poetry
from tests.support.servers import free_port, started
from tests.support.tools import give_up
from tests.support.variants import HOSTILE, Answers

LOCKS = {"uv": "uv.lock", "poetry": "poetry.lock", "pip": "requirements.lock"}
MEGABYTES_OVER_BASE = 120
EMAIL, PASSWORD = "ada@example.com", "a passphrase for tests"
# Files that must not be in the image.
SECRETS = ("app/.env", "app/core/.env.local", "app/core/server.pem", "alembic/server.key")
# Programs that are not needed at run time.
TOOLS = "uv uvx poetry gcc cc make git"
LEFTOVERS = """
import importlib.util as imports, pathlib, shutil, sys
found = [tool for tool in sys.argv[1:] if shutil.which(tool)]
found += [name for name in ("pip", "setuptools", "uv", "poetry") if imports.find_spec(name)]
sources = [it for it in pathlib.Path("/app").rglob("*.py") if it.parent.name != "bin"]
found += [it for it in sources if not pathlib.Path(imports.cache_from_source(it)).exists()]
print(*found)
"""


@dataclass(frozen=True)
class Built:
    """An image of a project with hostile texts, and the output of a build without a lock file."""

    image: Image
    lock: str
    output_without_lock: str


@pytest.fixture(scope="module", params=LOCKS)
def built(
    request: pytest.FixtureRequest,
    engine: Engine,
    rendered: Callable[[Answers], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Built]:
    """Return an image, one for each package manager."""
    manager: str = request.param
    python = find_python(PYTHON)
    if python is None:
        give_up(f"there is no Python {PYTHON} here to create the lock file")
    project = rendered({**HOSTILE, "package_manager": manager, "python_version": PYTHON})
    output = engine.fail_to_build(project)
    environment = project_environment(python, **POETRY_INDEX)
    if manager == "poetry":
        poetry = install_poetry(tmp_path_factory.mktemp("poetry") / "venv", python)
        environment["PATH"] = f"{poetry.parent}{os.pathsep}{environment['PATH']}"
    run(["make", "lock"], project, environment)
    for name in SECRETS:
        (project / name).write_text("secret", encoding="utf-8")
    # Like in a clone that was created with the umask 077.
    run(["chmod", "-R", "go-rwx", "."], project)
    image = engine.build(project, f"localhost/template-tests-{manager}")
    yield Built(image, LOCKS[manager], output)
    engine.remove(image)


@pytest.fixture
def image(built: Built) -> Image:
    return built.image


@pytest.fixture(scope="module")
def base_megabytes(engine: Engine) -> Iterator[int]:
    """Return the size of the base image in megabytes."""
    base = engine.base()
    yield base.megabytes()
    engine.remove(base)


@pytest.fixture(scope="module")
def database_url(installed: Callable[[Answers], Path]) -> Iterator[str]:
    """Return the URL of an empty database on the embedded Postgres of an installed project."""
    with held_database(installed({})) as url:
        yield url


@pytest.fixture
def volumes(database_url: str) -> dict[str, Path]:
    """Return the socket of the database. Its folder is closed to the user of the image."""
    query = parse_qs(urlsplit(database_url).query)
    name = f".s.PGSQL.{query['port'][0]}"
    return {f"/postgres/{name}": Path(query["host"][0]) / name}


@pytest.fixture
def settings(database_url: str) -> dict[str, str]:
    """Return the settings of a production server on a free port."""
    folder = parse_qs(urlsplit(database_url).query)["host"][0]
    return {
        "DATABASE_URL": database_url.replace(quote(folder, safe=""), "/postgres"),
        "JWT_SECRET": "3kVZx0TqY7mB5cWn2RfJ8hLs6PdGa9Eu",
        "PORT": str(free_port()),
        "SHUTDOWN_DELAY_SECONDS": "0",
    }


def test_build_without_a_lock_file_explains_what_to_do(built: Built) -> None:
    assert f"There is no {built.lock}: run 'make lock' and commit it." in built.output_without_lock


def test_image_is_small(
    image: Image, base_megabytes: int, record_property: Callable[[str, object], None]
) -> None:
    over = image.megabytes() - base_megabytes
    record_property("megabytes over the base", over)
    print(f"\n{image.name}: {over} MB over a base of {base_megabytes} MB")  # noqa: T201
    assert over <= MEGABYTES_OVER_BASE


def test_image_contains_no_secrets_from_the_code_folders(image: Image) -> None:
    found = image.run("find", "/app", "-path", "/app/.venv", "-prune", "-o", "-type", "f", "-print")
    assert "/app/app/main.py" in found.splitlines()
    assert not {f"/app/{name}" for name in SECRETS} & set(found.splitlines())


def test_image_user_is_a_number_and_not_root(image: Image) -> None:
    assert re.fullmatch(r"[1-9]\d+(:[1-9]\d+)?", image.config["User"])
    assert image.run("id", "-u").strip() == image.config["User"].partition(":")[0]


def test_image_contains_no_build_tools(image: Image) -> None:
    assert image.run("python", "-c", LEFTOVERS, *TOOLS.split()).strip() == ""


def test_image_labels_can_contain_any_text(image: Image) -> None:
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == HOSTILE["project_name"]
    assert labels["org.opencontainers.image.description"] == HOSTILE["project_description"]


def test_image_contains_the_application(image: Image) -> None:
    assert json.loads(image.run("python", "-m", "app", "openapi"))["openapi"]


def test_image_migrates_serves_and_stops_on_a_read_only_disk(
    image: Image, settings: dict[str, str], volumes: dict[str, Path], tmp_path: Path
) -> None:
    for folder in ("/app", "/tmp"):  # noqa: S108 - in the image
        assert "Read-only" in image.run("sh", "-c", f"! touch {folder}/x 2>&1")
    image.run("python", "-m", "app", "migrate", settings=settings, volumes=volumes)
    create = ["python", "-m", "app", "create-user", "--password-stdin"]
    user = f"{image.name.rpartition('-')[2]}.{EMAIL}"
    image.run(*create, user, settings=settings, volumes=volumes, text=PASSWORD)

    assert image.config["StopSignal"] == "SIGTERM"
    serve = image.command(*image.config["Cmd"], settings=settings, volumes=volumes)
    with ExitStack() as stack:
        environment = {**os.environ, "PORT": settings["PORT"]}
        server = stack.enter_context(started(serve, tmp_path, environment, tmp_path / "log"))
        server.wait_until_ready()
        login = {"username": user, "password": PASSWORD}
        assert Browser(server.port).post("/api/v1/auth/login", login).status == 200
        kind, *check = image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        image.run(*check, settings=settings)
        assert server.stop(signal.SIGTERM) == 0, server.output()
    with pytest.raises(AssertionError):
        image.run(*check, settings=settings)
