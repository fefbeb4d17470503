"""Applying renames to a folder: to its Python code, its other texts and its file names."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from template_update.codemods.code import Code, is_inside
from template_update.codemods.python import rewrite
from template_update.codemods.registry import Renames
from template_update.package import Package

Replacement = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

# Folders that contain no text of the project.
SKIPPED: Final = {".git", ".venv", "__pycache__", "node_modules"}


def apply(renames: Renames, backend: Path, package: Package) -> list[Path]:
    """Apply renames to the files of a backend. Return the files that have changed."""
    renames = renames.in_package(package.name)
    code = Code(backend, package)
    packages = {name for name in renames.names if (file := code.file_of(name)) and file.is_dir()}
    names = {
        old: new
        for old, new in renames.names.items()
        # A module that is to become a package, and is one already.
        if not (old in packages and new.startswith(f"{old}."))
    }
    renames = replace(renames, names=names)
    changed: dict[Path, str] = {}
    for module in code.modules:
        text = rewrite(module, code, renames)
        if text != module.source:
            changed[module.file] = text
    replacements = _in_texts(renames, code)
    for file in _texts(backend):
        text = changed.get(file) or _read(file)
        new = text
        for pattern, successor in replacements if file.suffix != ".py" else replacements[:1]:
            new = pattern.sub(successor, new)
        if new != text:
            changed[file] = new
    for file, text in changed.items():
        file.write_text(text, encoding="utf-8", newline="")
    moves = [(backend / old, backend / new) for old, new in renames.files.items()]
    for name, new_name in sorted(renames.names.items()):  # packages before their modules
        source, target = code.file_of(name), code.path_of(new_name)
        if source and target:
            moves.append((source, target.with_suffix("") if source.is_dir() else target))
    result = set(changed)
    for before, after in moves:
        if not before.exists() or after.exists() or not is_inside(before, backend):
            continue
        after.parent.mkdir(parents=True, exist_ok=True)
        before.rename(after)
        result = {
            after / it.relative_to(before) if it.is_relative_to(before) else it for it in result
        }
    return sorted(result)


def _in_texts(renames: Renames, code: Code) -> list[Replacement]:
    """Return the replacements for texts. Only the first one applies to Python files too.

    Dotted names, settings and paths have the same meaning everywhere. A bare name is only
    replaced if it cannot be an English word, and if the project does not define it elsewhere.
    """
    sure = {**renames.names, **renames.settings}
    sure = {old: new for old, new in sure.items() if old.count(".") > 1 or old.isupper()}
    modules = {old: new for old, new in renames.names.items() if code.file_of(old)}
    sure |= modules
    # The name of a module that has become a package is also the beginning of new names.
    sure = {old: new for old, new in sure.items() if not new.startswith(f"{old}.")}
    bare = {}
    for old, new in renames.names.items():
        name, new_name = old.rpartition(".")[2], new.rpartition(".")[2]
        distinctive = "_" in name or re.search(r"[a-z][A-Z]", name)
        if name != new_name and distinctive and code.definitions(name) <= {old}:
            bare[name] = new_name
    paths = {f"{_path(old)}": _path(new) for old, new in modules.items()} | dict(renames.files)
    return [_pattern(sure), _pattern(bare), _pattern(paths)]


def _path(module: str) -> str:
    return module.replace(".", "/") + ".py"


def _pattern(names: Mapping[str, str]) -> Replacement:
    longest_first = sorted(names, key=len, reverse=True)
    alternatives = "|".join(map(re.escape, longest_first)) or "(?!)"
    return (
        re.compile(rf"(?<![\w./-])(?:{alternatives})(?![\w-])"),
        lambda match: names[match[0]],
    )


def _texts(backend: Path) -> list[Path]:
    files = []
    for file in sorted(backend.rglob("*")):
        if not SKIPPED.isdisjoint(file.relative_to(backend).parts):
            continue
        if file.is_file() and is_inside(file, backend):
            try:
                _read(file)
            except UnicodeDecodeError:
                continue
            files.append(file)
    return files


def _read(file: Path) -> str:
    return file.read_bytes().decode("utf-8")
