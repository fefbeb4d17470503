"""Run git commands."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Overrides user settings that would change the result of a merge, or run the user's programs.
SETTINGS: Final = {
    "color.ui": "false",
    "column.ui": "never",
    "commit.gpgsign": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "false",
    "log.showSignature": "false",
    "merge.conflictStyle": "merge",
    "merge.directoryRenames": "true",
    "merge.renameLimit": "0",
    "merge.renames": "true",
    "rerere.enabled": "false",
}


class GitError(Exception):
    """A git command failed. The message is the output of git."""


@dataclass(frozen=True)
class Repository:
    """A folder in which git commands run."""

    path: Path

    def git(self, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
        """Run a git command and return its output. Raise `GitError` if it fails."""
        return self.raw(*arguments, variables=variables).decode("utf-8", "surrogateescape").strip()

    def raw(
        self, *arguments: str, variables: Mapping[str, str] | None = None, text: bytes | None = None
    ) -> bytes:
        """Run a git command and return its output as bytes. Raise `GitError` if it fails."""
        settings = [part for item in SETTINGS.items() for part in ("-c", "=".join(item))]
        result = subprocess.run(
            ["git", *settings, *arguments],
            cwd=self.path,
            env=os.environ | (variables or {}),
            input=text,
            capture_output=True,
        )
        if result.returncode:
            raise GitError((result.stderr or result.stdout).decode("utf-8", "replace").strip())
        return result.stdout

    def names(self, *arguments: str) -> list[str]:
        """Run a git command with `-z` and return the paths in its output."""
        printed = self.raw(*arguments, "-z").decode("utf-8", "surrogateescape")
        return [name for name in printed.split("\0") if name]

    def succeeds(self, *arguments: str) -> bool:
        """Return whether a git command succeeds."""
        try:
            self.git(*arguments)
        except GitError:
            return False
        return True

    def blob(self, commit: str, path: str) -> bytes | None:
        """Return a file's content in a commit, or None if the commit has no such file."""
        try:
            return self.raw("show", f"{commit}:{path}")
        except GitError:
            return None
