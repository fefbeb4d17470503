"""Projects that were rendered from a version of the template."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.projects import project_environment, python_answer, python_in
from tests.support.commands import COPIER, commit, git, run
from tests.support.rendering import data
from tests.support.variants import Answers
from tests.update.history import FEATURES, PREVIOUS, History, make_history, replace


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Return the template's repository, which tests must not change."""
    return make_history(tmp_path_factory.mktemp("history") / "template")


@pytest.fixture
def project_from(history: History, tmp_path: Path) -> Callable[[str, Answers], Path]:
    """Return a function that renders a version with answers, and commits it as a project."""

    def render(version: str, answers: Answers) -> Path:
        project = tmp_path / f"project-{version}"
        command = [*COPIER, "copy", "--defaults", "--quiet", f"--vcs-ref={version}"]
        run([*command, *data(answers), history.repository, project], tmp_path)
        git(project, "init", "--quiet")
        commit(project, "Start from the template")
        return project

    return render


@pytest.fixture
def disagreeing(project_from: Callable[[str, Answers], Path]) -> Path:
    """Return a project that has changed a line that the template has also changed."""
    project = project_from(PREVIOUS, {})
    replace(project / ".github/workflows/ci.yml", "timeout-minutes: 10", "timeout-minutes: 99")
    commit(project, "Our timeout")
    return project


@pytest.fixture(scope="session")
def python(history: History, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with the dependencies of the new version, for the tests of all projects."""
    folder = tmp_path_factory.mktemp("environment")
    command = [
        *COPIER,
        "copy",
        "--defaults",
        "--quiet",
        f"--vcs-ref={FEATURES}",
        *data({"python_version": python_answer()}),
    ]
    run([*command, history.repository, folder / "project"], folder)
    run(["uv", "sync", "--quiet"], folder / "project", project_environment())
    return python_in(folder / "project/.venv")
