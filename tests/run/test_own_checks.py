"""The generated project's own gate: lint, format, types, tests on a real Postgres."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hooks.projects import project_environment
from tests.commands import run
from tests.variants import HOSTILE, Answers

# Every SameSite answer, every deploy target, and hostile texts. The whole gate once: the others
# have the same Python but for a few constants, so for them the tests alone.
PROJECTS: dict[str, tuple[Answers, str]] = {
    "defaults": ({}, "check"),
    "strict-docker": ({"cookie_samesite": "strict", "deploy_target": "docker"}, "test"),
    "none-hostile": ({"cookie_samesite": "none", **HOSTILE}, "test"),
}


@pytest.mark.parametrize(("answers", "target"), PROJECTS.values(), ids=PROJECTS)
def test_project_passes_its_own_checks(
    installed: Callable[[Answers], Path], answers: Answers, target: str
) -> None:
    project = installed(answers)
    # Its slow tests race and measure: they want the machine for themselves, in tests/real.
    environment = project_environment(PYTEST_ADDOPTS="-m 'not slow'")
    run(["make", target], project, environment)
