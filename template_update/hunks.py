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

IMPORTS: Final = "import"  # no name, so no list is called so
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
    content = _merge_file(ours, base, theirs)
    if content is None:
        return None
    merged = content.decode("utf-8", "surrogateescape")
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
    return text.encode("utf-8", "surrogateescape")


def is_rewritten(base: bytes, ours: bytes) -> bool:
    """Return whether a text keeps less than a quarter of the lines that it had."""
    before = [line for line in base.splitlines() if line.strip()]
    kept = set(ours.splitlines())
    return sum(line in kept for line in before) < len(before) / 4


def combine(base: list[str], ours: list[str], theirs: list[str]) -> list[str] | None:
    """Apply the edits of two sides to the same lines, or return None where they overlap.

    Lines that both add at the same place are both kept, ours first, unless both define the same
    name there. Imports and lists are merged item by item.
    """
    lists = _combine_lists(base, ours, theirs)
    if lists is not None:
        return lists
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


def _combine_lists(base: list[str], ours: list[str], theirs: list[str]) -> list[str] | None:
    """Merge three texts of nothing but imports and lists such as `__all__`; None for any others."""
    before, mine, other = (_lists("".join(side)) for side in (base, ours, theirs))
    if before is None or mine is None or other is None or not (mine and other):
        return None
    lines: list[str] = []
    for target in dict.fromkeys([*mine, *other]):
        if target != IMPORTS and target in before and not (target in mine and target in other):
            return None  # a side deleted the list
        was, here, there = (side.get(target, {}) for side in (before, mine, other))
        removed = [item for item in was if item not in here or item not in there]
        items = [item for item in dict.fromkeys([*here, *there]) if item not in removed]
        if list(was) == sorted(was):
            items.sort()
        if target == IMPORTS:
            lines = [*lines, *(f"{item}\n" for item in items)]
        else:
            lines += [f"{target} = [\n", *(f"    {item},\n" for item in items), "]\n"]
    return lines


def _lists(text: str) -> dict[str, dict[str, None]] | None:
    """Return the imports in a text, one name each, and the items of each list by its name.

    None if there is anything else in it, also a comment, for which there would be no place.
    """
    try:
        nodes = ast.parse(text).body
    except (SyntaxError, ValueError):
        return None
    if "#" in text:
        return None
    found: dict[str, dict[str, None]] = {}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.setdefault(IMPORTS, {}).update(dict.fromkeys(_imports(node)))
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.List)
            and isinstance(node.targets[0], ast.Name)
        ):
            items = [_item(text, item) for item in node.value.elts]
            if len(set(items)) < len(items):
                return None  # their number means something
            found[node.targets[0].id] = dict.fromkeys(items)
        else:
            return None
    return found


def _item(text: str, node: ast.expr) -> str:
    """Return the text of an item; the same for a string in either kind of quotes."""
    segment = ast.get_source_segment(text, node) or ""
    quoted = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return f'"{segment[1:-1]}"' if quoted and re.fullmatch(r"'[^'\"\\]*'", segment) else segment


def _imports(node: ast.Import | ast.ImportFrom) -> list[str]:
    names = [it.name + (f" as {it.asname}" if it.asname else "") for it in node.names]
    if isinstance(node, ast.Import):
        return [f"import {name}" for name in names]
    origin = "." * node.level + (node.module or "")
    return [f"from {origin} import {name}" for name in names]


def _edits(base: Sequence[str], side: list[str]) -> list[Edit]:
    codes = SequenceMatcher(None, base, side, autojunk=False).get_opcodes()
    return [(i1, i2, side[j1:j2]) for tag, i1, i2, j1, j2 in codes if tag != "equal"]


def _defined(lines: list[str]) -> set[str]:
    found = (DEFINITION.match(line) for line in lines)
    return {match[1] or match[2] for match in found if match}


def _until(lines: Iterator[str], mark: str) -> list[str]:
    return list(itertools.takewhile(lambda line: not line.startswith(mark), lines))


def _merge_file(ours: bytes, base: bytes, theirs: bytes) -> bytes | None:
    """Return git's merge, with markers, or None for what is no text."""
    with TemporaryDirectory() as folder:
        files = []
        for name, content in (("ours", ours), ("base", base), ("theirs", theirs)):
            file = Path(folder, name)
            # A last line without its end would be glued to a marker.
            file.write_bytes(content if content.endswith(b"\n") or not content else content + b"\n")
            files.append(str(file))
        command = ["git", "merge-file", "-p", "--diff3", f"--marker-size={MARKER_LENGTH}"]
        result = subprocess.run(
            [*command, *files], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        # Up to 127, the exit code is the number of conflicts.
        return result.stdout if result.returncode <= 127 else None
