"""The Python package of a project. Its name may differ from `app`, the name in the template."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

ORIGINAL: Final = "app"
COMMANDS: Final = "serve|dev|migrate|openapi|create-user|doctor|purge|worker"
# A folder counts as the renamed package if it has at least this share of the package's files.
SHARE: Final = 0.5


@dataclass(frozen=True)
class Package:
    """A package.

    folder: its folder relative to the backend, such as `src/shop`.
    """

    folder: str = ORIGINAL

    @property
    def name(self) -> str:
        """The name under which code imports it."""
        return PurePosixPath(self.folder).name

    @property
    def is_renamed(self) -> bool:
        """Return whether its folder differs from the one in the template."""
        return self.folder != ORIGINAL

    def module(self, file: str) -> str | None:
        """Return the dotted module name of a file, or None if it is outside the package."""
        prefix = f"{self.folder}/"
        if not file.startswith(prefix) or not file.endswith(".py"):
            return None
        path = PurePosixPath(file.removeprefix(prefix)).with_suffix("")
        parts = path.parent.parts if path.name == "__init__" else path.parts
        return ".".join([self.name, *parts])


def find_package(project: Iterable[str], rendered: Iterable[str]) -> Package:
    """Return the package of a project.

    project: the paths of the project's files, relative to the backend. rendered: those of the
    template's files.
    """
    prefix = f"{ORIGINAL}/"
    expected = {name.removeprefix(prefix) for name in rendered if name.startswith(prefix)}
    found: dict[str, int] = {}
    for name in project:
        parts = name.split("/")
        for length in range(1, len(parts)):
            if "/".join(parts[length:]) in expected:
                folder = "/".join(parts[:length])
                found[folder] = found.get(folder, 0) + 1
    best = max(found, key=lambda folder: found[folder], default=ORIGINAL)
    if found.get(ORIGINAL) or found.get(best, 0) < SHARE * len(expected):
        return Package()
    return Package(best)


def rename_package(backend: Path, package: Package, project: Path) -> None:
    """Rename and move the package in a render to match the project.

    Replace the name only where it certainly means the package: before the name of one of the
    package's modules, and in the settings and commands of `_contexts`. If the project's own file
    still contains the old name, keep it in the render too. This applies to texts, and to paths in
    Python code.
    """
    if not package.is_renamed:
        return
    modules = "|".join(sorted({it.stem for it in (backend / ORIGINAL).iterdir()}))
    target = backend / package.folder
    target.parent.mkdir(parents=True, exist_ok=True)
    (backend / ORIGINAL).rename(target)
    path = rf"(?<![\w-]){ORIGINAL}(?=/(?:{modules})\b)"
    replacements = [
        (rf"(?<![\w./-]){ORIGINAL}(?=\.(?:{modules})\b)", package.name),
        (path, package.folder),
        *_contexts(package),
    ]
    compiled = [(re.compile(pattern, re.MULTILINE), new) for pattern, new in replacements]
    for file in backend.rglob("*"):
        if not file.is_file():
            continue
        try:
            text = before = file.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue
        for pattern, new in compiled:
            is_code = file.suffix == ".py" and pattern.pattern != path
            if is_code or not _matches(pattern, project / file.relative_to(backend)):
                text = pattern.sub(new, text)
        if text != before:
            file.write_bytes(text.encode("utf-8"))


def _matches(pattern: re.Pattern[str], file: Path) -> bool:
    try:
        return file.is_file() and bool(pattern.search(file.read_bytes().decode("utf-8")))
    except UnicodeDecodeError:
        return False


def _contexts(package: Package) -> list[tuple[str, str]]:
    """Return patterns for places where the bare name means the package, and the replacements."""
    names = (
        rf"(?<=\bfrom ){ORIGINAL}(?= import\b)",
        rf"(?<=\bimport ){ORIGINAL}(?![\w.])",
        rf"(?<=-m ){ORIGINAL}\b|(?<=-m, ){ORIGINAL}\b",
        rf'(?<=^known-first-party = \["){ORIGINAL}(?=")',
        # A command line with the module and one of its commands, and the names of its loggers.
        rf"""(?<=["']){ORIGINAL}(?=["'], ["'](?:{COMMANDS})["'])""",
        rf"""(?<=process\(["']){ORIGINAL}(?=["'])|(?<=\[0\] == ["']){ORIGINAL}(?=["'])""",
        rf"""(?<=["']){ORIGINAL}(?=\.["'])""",
    )
    folders = (
        rf"""(?<=/ ["']){ORIGINAL}(?=["'])|(?<=Path\(["']){ORIGINAL}(?=["'])""",
        rf"""(?<=["']){ORIGINAL}(?=["'], ["']alembic["'])""",
        rf'(?<=^source = \["){ORIGINAL}(?=")',
        rf"(?<=^!){ORIGINAL}$",
        rf"(?<=alembic\.ini ){ORIGINAL}\b|(?<=compileall -q ){ORIGINAL}\b",
    )
    return [
        *((pattern, package.name) for pattern in names),
        *((pattern, package.folder) for pattern in folders),
    ]
