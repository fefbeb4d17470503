"""Teams and their edits, updated from every release by both commands.

The newest version here adds a router, a model, a setting and an error to the work tree. By default
the suites run in the projects that come from the oldest release; with `TEMPLATE_UPDATES=all` in
all of them, and `docs/updates.md` is written anew.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from hooks.check_template import ROOT
from hooks.projects import project_environment, python_in
from tests.commands import COPIER, commit, git, run
from tests.rendering import backend
from tests.update.history import FEATURES, History, origins
from tests.update.profiles import PROFILES, own_lines
from tests.update.updating import template_update
from tests.variants import Answers

ALL: Final = os.environ.get("TEMPLATE_UPDATES") == "all"
TABLE: Final = ROOT / "docs/updates.md"
COMMANDS: Final = ("template-update", "copier update")


@dataclass(frozen=True)
class Result:
    """What became of a project: its conflicts, and whether its suite passed afterwards."""

    conflicts: list[str]
    lost: list[str]
    suite: str


@pytest.fixture(scope="session")
def python(history: History, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with the dependencies of the newest version, for the suites of all."""
    folder = tmp_path_factory.mktemp("environment")
    command = [*COPIER, "copy", "--defaults", "--quiet", f"--vcs-ref={FEATURES}"]
    run([*command, history.repository, folder / "project"], folder)
    run(["uv", "sync", "--quiet"], folder / "project", project_environment())
    return python_in(folder / "project/.venv")


@pytest.fixture
def project(request: pytest.FixtureRequest, project_from: Callable[[str, Answers], Path]) -> Path:
    """Return the project of a profile and a version, with all its edits committed."""
    name, origin = request.param
    profile = PROFILES[name]
    project = project_from(origin, profile.answers)
    profile.change(project)
    if git(project, "status", "--porcelain"):
        commit(project, "Our work")
    return project


@pytest.mark.parametrize(
    ("project", "name", "origin"),
    [((name, origin), name, origin) for name in PROFILES for origin in origins()],
    indirect=["project"],
    ids=[f"{name}-{origin}" for name in PROFILES for origin in origins()],
)
def test_update_of_a_team(project: Path, python: Path, name: str, origin: str) -> None:
    before = own_lines(project)
    start = git(project, "rev-parse", "HEAD").strip()
    results = {}
    for command in COMMANDS:
        git(project, "reset", "--quiet", "--hard", start)
        git(project, "clean", "--quiet", "--force", "-d")
        results[command] = update(project, command)
        lost = [line for line in before if line not in own_lines(project)]
        assert lost == [], command
        assert [it for it in PROFILES[name].gone if (project / it).exists()] == [], command
        if command == "template-update":
            assert results[command] == []
        if results[command] == [] and (ALL or origin == origins()[1]):
            run_suite(project, python)


def update(project: Path, command: str) -> list[str]:
    """Update a project and return the files in conflict. Without any, the result is checked out."""
    if command == "copier update":
        run([*COPIER, "update", "--defaults", "--quiet", f"--vcs-ref={FEATURES}"], project)
        git(project, "add", "--intent-to-add", ".")
        return git(project, "diff", "--name-only", "--diff-filter=U").split()
    template_update(project, f"--to={FEATURES}")
    git(project, "checkout", "--quiet", f"template/{FEATURES.removeprefix('v')}")
    return []


def run_suite(project: Path, python: Path) -> None:
    """Write the migration that the update asks for, and run the tests that are not slow."""
    environment = project_environment(PYTHONDONTWRITEBYTECODE="1")
    part = backend(project)
    migration = ["-m", "alembic", "revision", "--autogenerate", "--message", "announcements"]
    run([python, *migration], part, environment)
    pytest_options = ["-q", "-m", "not slow", "--ignore=tests/fuzz", "-p", "no:cacheprovider"]
    run([python, "-m", "pytest", *pytest_options], part, environment)
