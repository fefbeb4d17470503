"""The project's own formatter."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from template_update.errors import UpdateError

CONFIGS: Final = (".ruff.toml", "ruff.toml", "pyproject.toml")
# Ruff's exit code for settings and arguments that it cannot read.
RUFF_FAILED: Final = 2
FILES_PER_CALL: Final = 200


@dataclass(frozen=True)
class Formatter:
    """Sorts imports and formats, by the settings of a project.

    ruff: the file with ruff's settings, if any. black: the file with black's, if black formats.
    """

    ruff: Path | None
    black: Path | None

    @classmethod
    def of(cls, backend: Path) -> "Formatter":
        """Return the formatter of a project, whose backend is in a folder."""
        pyproject = backend / "pyproject.toml"
        try:
            text = pyproject.read_text(encoding="utf-8") if pyproject.exists() else ""
            tools = tomllib.loads(text).get("tool", {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UpdateError(f"{pyproject.name} cannot be read: {error}") from error
        configs = [backend / name for name in CONFIGS if (backend / name).exists()]
        uses_black = "black" in tools or re.search(r"""["']black\b""", text)
        return cls(configs[0] if configs else None, pyproject if uses_black else None)

    def format(self, folder: Path, files: Iterable[Path]) -> None:
        """Format Python files below a folder in place. A file that does not parse stays as it is.

        Raises `UpdateError` if the settings cannot be read.
        """
        names = [str(file.relative_to(folder)) for file in files]
        config = ["--config", str(self.ruff)] if self.ruff else ["--isolated"]
        steps = [["ruff", "check", "--no-cache", "--quiet", "--fix", "--fixable=I", *config]]
        if self.black:
            steps.append(["black", "--quiet", "--config", str(self.black)])
        else:
            steps.append(["ruff", "format", "--no-cache", "--quiet", *config])
        for start in range(0, len(names), FILES_PER_CALL):
            for step in steps:
                _run([*step, "--", *names[start : start + FILES_PER_CALL]], folder)


def _run(command: list[str], folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    failed = result.returncode == RUFF_FAILED and "ruff failed" in result.stderr
    if failed or "Error: " in result.stderr:
        reason = " ".join(result.stderr.split())
        raise UpdateError(f"The project's settings of {command[0]} cannot be used: {reason}")
