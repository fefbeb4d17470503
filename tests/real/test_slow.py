"""What takes long: the whole gate of a project, and the tests of the template in a project."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hooks.check_template import ROOT
from hooks.projects import project_environment, python_of
from tests.commands import run
from tests.installing import install_into
from tests.variants import Answers

# The tests of what a project uses and seldom changes: Postgres in its folder, processes, TLS,
# outages. They run with the fixtures of a project, and stay in the template.
OWN = ROOT / "tests/project"


@pytest.fixture
def project(installed: Callable[[Answers], Path]) -> Path:
    return installed({})


def test_project_passes_its_own_gate_and_the_tests_of_the_template(project: Path) -> None:
    environment = project_environment(PYTEST_XDIST_AUTO_NUM_WORKERS="2")
    run(["make", "check"], project, environment)

    files = [file.relative_to(OWN) for file in sorted(OWN.rglob("*.py"))]
    assert not [file for file in files if (project / "tests" / file).exists()]
    shutil.copytree(OWN, project / "tests", dirs_exist_ok=True)
    install_into(project / ".venv", "trustme")
    python = python_of(project)
    run([python, "-m", "mypy"], project, environment)
    coverage = ["--cov", "--cov-append", "--cov-fail-under=95"]
    tests = [Path("tests") / file for file in files]
    run([python, "-m", "pytest", "--numprocesses=2", *coverage, *tests], project, environment)
