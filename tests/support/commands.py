"""Run commands in tests, and show their output if they fail."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

COPIER: Final = (sys.executable, "-m", "copier")


def run(
    command: Sequence[str | Path],
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    *,
    exit_code: int = 0,
    text: str | None = None,
) -> str:
    """Run a command and return its output. Fail with the output on any other exit code."""
    __tracebackhide__ = True
    result = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ if environment is None else environment,
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        start_new_session=text is not None,  # a terminal would be asked for passwords
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    line = " ".join(str(part) for part in command)
    assert result.returncode == exit_code, (
        f"{line} in {cwd}: exit code {result.returncode}, not {exit_code}\n{result.stdout}"
    )
    return result.stdout


def git(cwd: Path, *arguments: str | Path) -> str:
    """Run git in a folder and return its output."""
    return run(["git", *arguments], cwd)


def commit(repository: Path, message: str, *, tag: str | None = None) -> None:
    """Commit all files of a repository, and optionally tag the commit."""
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", message)
    if tag is not None:
        git(repository, "tag", tag)
