"""The project's own formatter."""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from template_update.errors import UpdateError

CONFIGS: Final = (".ruff.toml", "ruff.toml", "pyproject.toml")
# Ruff's exit code for settings and arguments that it cannot read.
RUFF_FAILED: Final = 2
FILES_PER_CALL: Final = 200

# A function that changes files below a folder in place.
Step = Callable[[Path, list[Path]], None]


@dataclass(frozen=True)
class Formatter:
    """Sorts imports and formats files with the settings of a project.

    backend: the folder of the project's backend. ruff: the file with ruff's settings, if any; it
    may be in a parent folder. black: the file with black's settings, if the project uses black.
    """

    backend: Path
    ruff: Path | None
    black: Path | None

    @classmethod
    def of(cls, backend: Path) -> "Formatter":
        """Return the formatter of the project whose backend is in a folder."""
        pyproject = backend / "pyproject.toml"
        tools = _tools(pyproject)
        text = pyproject.read_text(encoding="utf-8") if pyproject.is_file() else ""
        uses_black = "black" in tools or re.search(r"""["']black\b""", text)
        return cls(backend, _ruff_settings(backend), pyproject if uses_black else None)

    def format(self, folder: Path, files: Iterable[Path]) -> None:
        """Format files below a folder in place: Python, and with ruff also Python in Markdown.

        folder: the folder of the backend, or of the backend in a render. Files that do not parse,
        or that the settings exclude, stay unchanged. Raise `UpdateError` if the settings cannot be
        read.
        """
        files = list(files)
        self._sort_imports(folder, files)
        self._format_code(folder, files)

    def format_as_before(self, before: Mapping[Path, bytes]) -> None:
        """Format the files of the backend that were formatted before they changed.

        A team may format only some of its files, or none. Raise `UpdateError` like `format`.

        before: the files, with their earlier contents.
        """
        after = {file: file.read_bytes() for file in before}
        sort = partial(self._sort_imports, every=True)
        # In place, because the settings depend on the path.
        is_sorted = self._unchanged_by(sort, before)
        is_formatted = self._unchanged_by(self._format_code, before)
        for file, content in after.items():
            file.write_bytes(content)
        sort(self.backend, is_sorted)
        self._format_code(self.backend, is_formatted)

    def _unchanged_by(self, step: Step, contents: Mapping[Path, bytes]) -> list[Path]:
        """Write the contents to the files, and return the files that a step leaves unchanged."""
        for file, content in contents.items():
            file.write_bytes(content)
        step(self.backend, list(contents))
        return [file for file, content in contents.items() if file.read_bytes() == content]

    def _sort_imports(self, folder: Path, files: list[Path], *, every: bool = False) -> None:
        """Sort imports. every: even if the project's settings do not select that rule."""
        python = [file for file in files if file.suffix == ".py"]
        selected = ["--select=I"] if every else []
        self._run_ruff(["check", "--fix", "--fixable=I", *selected], folder, python)

    def _format_code(self, folder: Path, files: list[Path]) -> None:
        if not self.black:
            self._run_ruff(["format"], folder, files)
            return
        python = [str(file.relative_to(folder)) for file in files if file.suffix == ".py"]
        self._run(["black", "--quiet", "--config", str(self.black)], python, folder, self.black)

    def _run_ruff(self, command: list[str], folder: Path, files: list[Path]) -> None:
        # Paths in the settings are relative to the folder in which ruff runs.
        above = len(self.backend.relative_to(self.ruff.parent).parts) if self.ruff else 0
        folder = [folder, *folder.parents][above]
        config = ["--config", str(self.ruff)] if self.ruff else ["--isolated"]
        quietly = ["--no-cache", "--quiet", "--force-exclude", *config]
        names = [str(file.relative_to(folder)) for file in files]
        self._run(["ruff", *command, *quietly], names, folder, self.ruff)

    def _run(
        self, command: list[str], files: list[str], folder: Path, settings: Path | None
    ) -> None:
        for start in range(0, len(files), FILES_PER_CALL):
            error = _run_once([*command, "--", *files[start : start + FILES_PER_CALL]], folder)
            if error:
                root = _up_to_root(self.backend)[-1]
                name = settings.relative_to(root) if settings else "its default settings"
                reason = (
                    re.split("(?:Cause|Error): ", error)[-1].replace(f"{root}/", "").rstrip(".")
                )
                raise UpdateError(
                    f"{command[0].capitalize()} cannot use {name} ({reason}): change or remove "
                    "that setting for the update, commit that, and update again."
                )

    def format_like(self, project: Path, old: Path, new: Path | None = None) -> None:
        """Format the files of two renders, if that makes the old one more similar to the project.

        Without a new render, format the files of the old one that differ from the project's.
        Otherwise, format the files that differ between the renders. A team may format only some of
        its files, or use another version of the formatter. Then the unformatted render may have
        more lines in common with the project's file, and is kept.
        """
        before, after = _texts(old), _texts(new or project)
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        for folder in filter(None, (old, new)):
            self.format(folder, [folder / name for name in names if (folder / name).is_file()])
        for name in names:
            own = project / name
            if not own.is_file() or name not in before:
                continue
            lines = own.read_bytes().splitlines()
            if _common(before[name], lines) > _common((old / name).read_bytes(), lines):
                (old / name).write_bytes(before[name])
                if new and name in after:
                    (new / name).write_bytes(after[name])


def _texts(folder: Path) -> dict[str, bytes]:
    """Return the contents of the files that a formatter may change, by their paths."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.suffix in {".py", ".md"} and file.is_file()
    }


def _common(text: bytes, lines: list[bytes]) -> int:
    return (Counter(text.splitlines()) & Counter(lines)).total()


def _up_to_root(folder: Path) -> list[Path]:
    """Return a folder and its parents, up to the root of the repository."""
    found: list[Path] = []
    for it in (folder, *folder.parents):
        found.append(it)
        if (it / ".git").exists():
            break
    return found


def _ruff_settings(backend: Path) -> Path | None:
    """Return the file with ruff's settings: the nearest one, as ruff itself chooses it."""
    for folder in _up_to_root(backend):
        for name in CONFIGS:
            file = folder / name
            if file.is_file() and (name != "pyproject.toml" or "ruff" in _tools(file)):
                return file
    return None


def _tools(pyproject: Path) -> dict[str, object]:
    """Return the `[tool]` tables of a pyproject.toml, if it exists. Raise `UpdateError`."""
    try:
        text = pyproject.read_text(encoding="utf-8") if pyproject.is_file() else ""
        tools: dict[str, object] = tomllib.loads(text).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UpdateError(f"{pyproject.name} cannot be read: {error}") from error
    return tools


def _run_once(command: list[str], folder: Path) -> str | None:
    """Run a formatter, and return its error message if it cannot use its settings."""
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    ruff_failed = result.returncode == RUFF_FAILED and "ruff failed" in result.stderr
    # Only at the beginning of a line: an error with a longer name is about a file.
    black_failed = re.search("^Error: ", result.stderr, re.MULTILINE)
    return " ".join(result.stderr.split()) if ruff_failed or black_failed else None
