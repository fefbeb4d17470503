"""Conflicts that are none: changes of both sides beside each other, but not of the same lines.

Git reports a conflict wherever the changes of two sides touch. A team that adds a route after the
last one, and a template that does the same, have changed nothing of each other's.
"""

import ast
import itertools
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

MARKER_LENGTH: Final = 60
START, BASE, MIDDLE, END = (character * MARKER_LENGTH for character in "<|=>")

# What a line defines: a function, a class, a name, a key. Two sides that add the same one disagree.
DEFINITION: Final = re.compile(
    r"""^\s*(?:(?:async\s+)?def|class)\s+(\w+)|^\s*(?:-\s+)?["']?([\w.-]+)["']?\s*(?::|=(?!=))"""
)
PARSERS: Final[dict[str, Callable[[str], object]]] = {".py": ast.parse, ".toml": tomllib.loads}

# Lines [start, end) of the base, and what a side has in their place.
Edit = tuple[int, int, list[str]]


def merge(name: str, ours: bytes, base: bytes, theirs: bytes) -> bytes | None:
    """Merge three versions of a file, or return None if they disagree.

    name: the file's path; Python and TOML must parse after the merge. Files
    that are not text disagree.
    """
    lines: list[str] = []
    try:
        merged = _merge_file(ours, base, theirs).decode("utf-8")
    except UnicodeDecodeError:
        return None
    chunks = iter(merged.splitlines(keepends=True))
    for line in chunks:
        if not line.startswith(START):
            lines.append(line)
            continue
        parts = [_until(chunks, mark) for mark in (BASE, MIDDLE, END)]
        combined = combine(parts[1], parts[0], parts[2])
        if combined is None:
            return None
        lines += combined
    text = "".join(lines)
    try:
        PARSERS.get(Path(name).suffix, str)(text)
    except (SyntaxError, ValueError):
        return None
    return text.encode("utf-8")


def is_rewritten(base: bytes, ours: bytes) -> bool:
    """Return whether a text keeps less than a quarter of the lines that it had."""
    before = [line for line in base.splitlines() if line.strip()]
    kept = set(ours.splitlines())
    return sum(line in kept for line in before) < len(before) / 4


def combine(base: list[str], ours: list[str], theirs: list[str]) -> list[str] | None:
    """Apply the edits of two sides to the same lines, or return None where they overlap.

    Lines that both add at the same place are both kept, ours first, unless both define the same
    name there. Imports are merged by what they import, because their order means nothing.
    """
    imports = _combine_imports(base, ours, theirs)
    if imports is not None:
        return imports
    mine, other = _edits(base, ours), _edits(base, theirs)
    for start, end, added in mine:
        for their_start, their_end, their_added in other:
            if (start, end) == (their_start, their_end) and start == end:
                if _defined(added) & _defined(their_added):
                    return None
            elif start < their_end and their_start < end:
                return None
    # Insertions at a place come before a replacement that begins there; ours come first.
    ordered = sorted(
        [(edit, 0) for edit in mine] + [(edit, 1) for edit in other],
        key=lambda item: (item[0][0], item[0][1], item[1]),
    )
    result: list[str] = []
    position = 0
    for (start, end, added), _ in ordered:
        result += base[position:start] + added
        position = max(position, end)
    return result + base[position:]


def _combine_imports(base: list[str], ours: list[str], theirs: list[str]) -> list[str] | None:
    """Merge three texts that are nothing but imports; None for any others."""
    sides = [_imports(side) for side in (base, ours, theirs)]
    before, mine, other = (side if side is not None else set() for side in sides)
    if None in sides or not (mine and other):
        return None
    kept = (mine | other) - (before - mine) - (before - other)
    return [f"{line}\n" for line in sorted(kept)]


def _imports(lines: list[str]) -> set[str] | None:
    """Return the imports in a text, one name each; None if there is anything else in it."""
    text = "".join(lines)
    try:
        nodes = ast.parse(text).body
    except (SyntaxError, ValueError):
        return None
    found = set()
    for node in nodes:
        if not isinstance(node, ast.Import | ast.ImportFrom) or "#" in text:
            return None
        for alias in node.names:
            name = alias.name + (f" as {alias.asname}" if alias.asname else "")
            origin = "." * getattr(node, "level", 0) + (getattr(node, "module", "") or "")
            is_from = isinstance(node, ast.ImportFrom)
            found.add(f"from {origin} import {name}" if is_from else f"import {name}")
    return found


def _edits(base: Sequence[str], side: list[str]) -> list[Edit]:
    codes = SequenceMatcher(None, base, side, autojunk=False).get_opcodes()
    return [(i1, i2, side[j1:j2]) for tag, i1, i2, j1, j2 in codes if tag != "equal"]


def _defined(lines: list[str]) -> set[str]:
    found = (DEFINITION.match(line) for line in lines)
    return {match[1] or match[2] for match in found if match}


def _until(lines: Iterator[str], mark: str) -> list[str]:
    return list(itertools.takewhile(lambda line: not line.startswith(mark), lines))


def _merge_file(ours: bytes, base: bytes, theirs: bytes) -> bytes:
    with TemporaryDirectory() as folder:
        files = []
        for name, content in (("ours", ours), ("base", base), ("theirs", theirs)):
            file = Path(folder, name)
            # A last line without its end would be glued to a marker.
            file.write_bytes(content if content.endswith(b"\n") or not content else content + b"\n")
            files.append(str(file))
        command = ["git", "merge-file", "-p", "--diff3", f"--marker-size={MARKER_LENGTH}"]
        return subprocess.run([*command, *files], stdout=subprocess.PIPE).stdout
