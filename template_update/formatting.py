"""The project's own formatter."""

import re
import subprocess
import sys
import tomllib
from collections import Counter
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
        """Format files below a folder in place: Python, and for ruff the Python in Markdown.

        A file that does not parse, or that the settings exclude, stays as it is. Raises
        `UpdateError` if the settings cannot be read.
        """
        names = [str(file.relative_to(folder)) for file in files]
        python = [name for name in names if name.endswith(".py")]
        config = ["--config", str(self.ruff)] if self.ruff else ["--isolated"]
        quietly = ["--no-cache", "--quiet", "--force-exclude", *config]
        _run(["ruff", "check", "--fix", "--fixable=I", *quietly], python, folder)
        if self.black:
            _run(["black", "--quiet", "--config", str(self.black)], python, folder)
        else:
            _run(["ruff", "format", *quietly], names, folder)

    def format_like(self, project: Path, old: Path, new: Path) -> None:
        """Format the files that differ in two renders, where that brings them nearer the project.

        A team may format only a part of its files, or with another version of the formatter. Then
        the render as it is may have more lines in common with the project's file.
        """
        before, after = (_texts(folder) for folder in (old, new))
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        for folder in (old, new):
            self.format(folder, [folder / name for name in names if (folder / name).exists()])
        for name in names:
            own = project / name
            if not own.exists() or name not in before:
                continue
            lines = own.read_bytes().splitlines()
            if _common(before[name], lines) > _common((old / name).read_bytes(), lines):
                (old / name).write_bytes(before[name])
                if name in after:
                    (new / name).write_bytes(after[name])


def _texts(folder: Path) -> dict[str, bytes]:
    """Return the files that a formatter may change, by their path."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.suffix in {".py", ".md"} and file.is_file()
    }


def _common(text: bytes, lines: list[bytes]) -> int:
    return (Counter(text.splitlines()) & Counter(lines)).total()


def _run(command: list[str], files: list[str], folder: Path) -> None:
    for start in range(0, len(files), FILES_PER_CALL):
        _run_once([*command, "--", *files[start : start + FILES_PER_CALL]], folder)


def _run_once(command: list[str], folder: Path) -> None:
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
