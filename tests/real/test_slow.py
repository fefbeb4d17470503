"""What takes long: the whole gate of a project, with its slow tests and the coverage of all."""

from collections.abc import Callable
from pathlib import Path

from hooks.projects import project_environment
from tests.commands import run
from tests.variants import Answers


def test_project_passes_its_own_gate_with_the_slow_tests(
    installed: Callable[[Answers], Path],
) -> None:
    environment = project_environment(PYTEST_XDIST_AUTO_NUM_WORKERS="2")
    run(["make", "check"], installed({}), environment)
