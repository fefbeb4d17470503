"""All checks of a project, and the tests of the template that run in a project."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.check_template import ROOT
from scripts.projects import project_environment, python_of
from tests.support.commands import run
from tests.support.installing import install_into
from tests.support.variants import Answers

# Tests of code that projects use and rarely change: the embedded Postgres, processes, TLS and
# outages. They use the fixtures of a project, but are part of the template.
OWN = ROOT / "tests/project"


@pytest.fixture
def project(installed: Callable[[Answers], Path]) -> Path:
    return installed({})


def test_project_passes_its_own_checks_and_the_template_tests(project: Path) -> None:
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
