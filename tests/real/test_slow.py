"""What takes long and must not be disturbed."""

from collections.abc import Callable
from pathlib import Path

from hooks.projects import project_environment, python_of
from tests.commands import run
from tests.variants import Answers


def test_project_passes_its_own_slow_tests(installed: Callable[[Answers], Path]) -> None:
    project = installed({})
    run([python_of(project), "-m", "pytest", "-m", "slow"], project, project_environment())
