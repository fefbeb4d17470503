"""The embedded Postgres of an installed project, for tests that run the project as processes."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.projects import project_environment, python_of

# Starts the embedded Postgres, prints its URL, and keeps it until standard input is closed.
HOLD_DATABASE = """
import sys
from app.db import embedded
print(embedded.start(sys.argv[1]), flush=True)
sys.stdin.read()
"""


@contextmanager
def held_database(project: Path, name: str = "session_tests") -> Iterator[str]:
    """Run the project's embedded Postgres, and yield the URL of an empty database on it."""
    with subprocess.Popen(
        [python_of(project), "-c", HOLD_DATABASE, name],
        cwd=project,
        env=project_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        url = holder.stdout.readline().strip()
        assert url, "the embedded Postgres did not start; see above"
        try:
            yield url
        finally:
            holder.communicate()
