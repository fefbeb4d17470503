"""A project with its own work: after an update with the documented steps, its tests pass."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.projects import project_environment, python_answer, python_of
from tests.support.commands import commit, git, run
from tests.support.pages import follow
from tests.support.servers import free_port, started
from tests.support.variants import Answers
from tests.update.history import History, origins
from tests.update.updating import template_update

MIGRATIONS = ["-m", "pytest", "-q", "tests/db/test_migrations.py"]
# The tests that a page adds. All tests run once at the end.
QUICK = "--ignore=tests/fuzz -m 'not slow' -k projects --no-cov -W 'ignore:Coverage disabled'"


@pytest.mark.parametrize("origin", origins())
def test_updated_project_passes_its_own_tests(
    history: History, project_from: Callable[[str, Answers], Path], tmp_path: Path, origin: str
) -> None:
    project = project_from(origin, {"python_version": python_answer()})
    environment = project_environment(PORT=str(free_port()))
    with started(["make", "dev"], project, environment, tmp_path / "log") as server:
        server.wait_until_ready()
        # An endpoint, a model, its migration and its tests, as the project's page describes.
        follow("docs/adding-a-resource.md", project, environment | {"PYTEST_ADDOPTS": QUICK})
    commit(project, "A resource of our own")

    # The exit code is 3 if there are conflicts.
    report = template_update(project, f"--to={history.current}")
    (branch,) = git(project, "branch", "--format=%(refname:short)", "--list", "template/*").split()
    git(project, "merge", "--quiet", branch)
    run(["make", "install"], project, environment)
    if "## Migration" in report:
        # The tests detect that it is missing, and the documented command creates it.
        output = run([python_of(project), *MIGRATIONS], project, environment, exit_code=1)
        assert "New upgrade operations detected" in output
        page = (project / "docs/updating.md").read_text(encoding="utf-8")
        (command,) = re.findall(r"^ +(make migration .*)$", page, re.MULTILINE)
        run(["sh", "-ec", command], project, environment)
    run(["make", "format", "test"], project, environment)
