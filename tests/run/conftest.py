"""An installed project with a database, for the tests that only run it."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hooks.projects import project_environment, python_of
from tests.variants import Answers

# Starts the embedded Postgres, says where it is, and holds it until its standard input closes.
HOLD_DATABASE = """
import sys
from app.db import embedded
print(embedded.start("session_tests"), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def project(installed: Callable[[Answers], Path]) -> Path:
    """Give the defaults, installed."""
    return installed({})


@pytest.fixture(scope="module")
def database_url(project: Path) -> Iterator[str]:
    """Give the URL of a migrated database, on the project's own embedded Postgres."""
    with subprocess.Popen(
        [python_of(project), "-c", HOLD_DATABASE],
        cwd=project,
        env=project_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        url = holder.stdout.readline().strip()
        assert url, "the embedded Postgres did not start; see above"
        yield url
        holder.communicate()
