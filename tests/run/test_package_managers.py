"""Each package manager: installs, locks, and installs from the lock, here and for the image."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pip._internal.models.index import PyPI

from hooks.check_template import ROOT
from hooks.projects import project_environment, python_answer, python_of
from tests.commands import run
from tests.rendering import files
from tests.variants import HOSTILE, Answers

# The slowest first.
LOCKS = {"pip": "requirements.lock", "poetry": "poetry.lock", "uv": "uv.lock"}
# What gives a manager away. Dependabot's name for Poetry's ecosystem is pip, and the image gets
# Poetry by pip.
TRACES = {
    "uv": re.compile(r"\buvx?\b|UV_"),
    "poetry": re.compile(r"poetry", re.IGNORECASE),
    "pip": re.compile(r"requirements(-dev)?\.(txt|lock)|\bpip (freeze|install -r)"),
}
VERSIONS = """
from importlib.metadata import distributions
print(*sorted(f"{d.name} {d.version}" for d in distributions()), sep="\\n")
"""
# Tests that need all that is installed. The whole suite runs elsewhere, and is the same under each
# manager.
QUICK = (
    "--ignore=tests/fuzz -m 'not slow' --no-cov -W 'ignore:Coverage disabled' "
    "-k 'login or logs or health or docs or commands or migrations or seams or requirements'"
)

MANAGERS = pytest.mark.parametrize("manager", LOCKS)


@MANAGERS
def test_nothing_of_the_other_managers_is_left(
    manager: str, rendered: Callable[[Answers], Path]
) -> None:
    for name, content in files(rendered({"package_manager": manager})).items():
        for other in TRACES.keys() - {manager}:
            assert not TRACES[other].search(f"{name}\n{content.decode()}"), name


# One test, so that one installation serves all of it.
@MANAGERS
def test_project_installs_checks_locks_and_builds(
    manager: str, rendered: Callable[[Answers], Path], tmp_path: Path
) -> None:
    answers = {**HOSTILE, "package_manager": manager, "python_version": python_answer()}
    project = rendered(answers)
    environment = environment_with(manager, tmp_path)

    run(["make", "install"], project, environment)
    lock = (project / LOCKS[manager]).read_text(encoding="utf-8")
    assert "fastapi" in lock
    assert "file:" not in lock
    assert not any((project / LOCKS[other]).exists() for other in LOCKS.keys() - {manager})
    run(["make", "check"], project, environment)

    versions = run([python_of(project), "-c", VERSIONS], project, environment)
    run(["make", "lock"], project, environment)
    shutil.rmtree(project / ".venv")
    run(["make", "test"], project, environment)
    assert run([python_of(project), "-c", VERSIONS], project, environment) == versions
    assert (project / LOCKS[manager]).read_text(encoding="utf-8") == lock

    check_image(project, LOCKS[manager], tmp_path / "image", environment)
    check_readme_on_dependencies(project, environment)
    output = run(["make", "migration"], project, environment, exit_code=2)
    assert 'make migration m="add projects"' in output


def test_pip_says_which_python_it_needs(
    rendered: Callable[[Answers], Path], tmp_path: Path
) -> None:
    project = rendered({"package_manager": "pip", "python_version": python_answer()})
    # This Python, but for what it says of its age: so there is one too old on every machine.
    old = tmp_path / "python3"
    pretend = "import sys; sys.version_info = (3, 10, 9); exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    output = run(["make", "install", f"PYTHON3={old}"], project, project_environment(), exit_code=2)
    assert f"Python {python_answer()} or newer is needed, and this is 3.10" in output
    assert not (project / ".venv").exists()


def environment_with(manager: str, folder: Path) -> dict[str, str]:
    """Give an environment with one manager in it; the others are found, and fail."""
    tools = folder / "tools"
    tools.mkdir()
    for other in {"uv", "poetry"} - {manager}:
        (tools / other).write_text("#!/bin/sh\nexit 97\n")
        (tools / other).chmod(0o755)
    if manager == "poetry":
        (tools / "poetry").symlink_to(install_poetry(folder / "poetry"))
    environment = project_environment(
        # Poetry asks PyPI for more than other indexes have; this keeps it to what pip asks for.
        POETRY_PYPI_MIRROR_URL=f"{PyPI.simple_url}/",
        PYTEST_ADDOPTS=QUICK,
        PYTEST_XDIST_AUTO_NUM_WORKERS="0",
    )
    environment["PATH"] = f"{tools}:{environment['PATH']}"
    return environment


def install_poetry(folder: Path) -> Path:
    """Install the Poetry that the generated image has; gives the command."""
    text = (ROOT / "dependencies.jinja").read_text(encoding="utf-8")
    (poetry,) = re.findall(r'set poetry = "(.*)"', text)
    uv = [sys.executable, "-m", "uv"]
    run([*uv, "venv", "--quiet", folder], ROOT)
    environment = os.environ | {"VIRTUAL_ENV": str(folder)}
    run([*uv, "pip", "install", "--quiet", poetry, "poetry-plugin-pypi-mirror"], ROOT, environment)
    return folder / "bin" / "poetry"


def check_image(project: Path, lock: str, image: Path, environment: dict[str, str]) -> None:
    """Do what the Dockerfile does to install, in a folder, and run what came of it."""
    dockerfile = (project / "Dockerfile").read_text(encoding="utf-8")
    steps = dockerfile.partition("WORKDIR /app\n")[2].partition("COPY . .")[0]
    (copied,) = re.findall(r"^COPY (.*) \./$", steps, re.MULTILINE)
    demand, install = re.findall(r"^RUN ((?:.*\\\n)*.*)$", steps, re.MULTILINE)
    image.mkdir()
    said = run(["sh", "-c", demand], image, environment, exit_code=1)
    assert said == f"There is no {lock}: run 'make lock' and commit it.\n"

    for pattern in copied.split():
        (found,) = project.glob(pattern)
        shutil.copy(found, image)
    run(["sh", "-c", f"{demand}\n{install}"], image, environment)
    shutil.copytree(project / "app", image / "app")
    document = run([python_of(image), "-m", "app", "openapi"], image, environment)
    assert json.loads(document)["info"]["title"] == HOSTILE["project_name"]
    assert "pytest" not in run([python_of(image), "-c", VERSIONS], image, environment)


def check_readme_on_dependencies(project: Path, environment: dict[str, str]) -> None:
    """Add a dependency as the README says."""
    readme = (project / "README.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"\*\*add a dependency\?\*\*\n\n```sh\n(.*?)```", readme, re.DOTALL)
    run(["sh", "-ec", commands], project, environment)
    run([python_of(project), "-c", "import bs4"], project, environment)
