"""Conflicts that are none: changes of both sides beside each other, but not of the same lines.

Git reports a conflict wherever the changes of two sides touch. A team that adds a route after the
last one, and a template that does the same, have changed nothing of each other's.
"""

import ast
import itertools
import re
import subprocess
import tomllib
from collections import Counter
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
# What opens a section without indentation: `[x]` in TOML and INI, and a stage of a Dockerfile.
SECTION: Final = re.compile(r"\[{1,2}[^\[\]]+\]{1,2}\s*(#.*)?$|FROM\s")
HEADING: Final = re.compile(r"(#{1,6})\s")
ENDS: Final = (")", "]", "}")
PARSERS: Final[dict[str, Callable[[str], object]]] = {".py": ast.parse, ".toml": tomllib.loads}

# Lines [start, end) of the base, and what a side has in their place.
Edit = tuple[int, int, list[str]]
# The headers above a line, the outermost first, and the line.
Place = tuple[tuple[str, ...], str]


def merge(name: str, ours: bytes, base: bytes, theirs: bytes) -> bytes | None:
    """Merge three versions of a file, or return None if they disagree.

    name: the file's path; Python and TOML must parse after the merge. Files
    that are not text disagree.
    """
    lines: list[str] = []
    combined_lines: list[str] = []
    is_page = name.endswith(".md")
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
        combined = _combine_lists(parts[1], parts[0], parts[2])
        if combined is None:
            combined = combine(parts[1], parts[0], parts[2], is_page=is_page)
            combined_lines += combined or []
        if combined is None:
            return None
        lines += combined
    whole = [_lines(side) for side in (base, ours, theirs)]
    if not _keep_places(whole[0], whole[1], whole[2], lines, combined_lines, is_page=is_page):
        return None
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


def combine(
    base: list[str], ours: list[str], theirs: list[str], *, is_page: bool = False
) -> list[str] | None:
    """Apply the edits of two sides to the same lines, or return None where they overlap.

    Keep both where both add lines at the same place, unless both define the same name there. Ours
    come first, or theirs if only so every line stays below the headers under which its side put it.
    If no order does that, return None. is_page: the lines are Markdown.
    """
    mine, other = _edits(base, ours), _edits(base, theirs)
    if any(_disagree(edit, their_edit, is_page) for edit in mine for their_edit in other):
        return None
    for edits in ((mine, other), (other, mine)):
        merged = _apply(base, *edits)
        if _keep_places(base, ours, theirs, merged, merged, is_page=is_page):
            return merged
    return None


def _disagree(edit: Edit, other: Edit, is_page: bool) -> bool:
    """Return whether two edits change the same lines, or define the same name at one place."""
    (start, end, added), (other_start, other_end, other_added) = edit, other
    if start == end == other_start == other_end:
        return bool(_defined(added, is_page) & _defined(other_added, is_page))
    return start < other_end and other_start < end


def _apply(base: list[str], first: list[Edit], second: list[Edit]) -> list[str]:
    """Apply edits that do not overlap; where both insert, the first ones come first."""
    # Insertions at a place come before a replacement that begins there.
    ordered = sorted([*first, *second], key=lambda edit: edit[:2])
    result: list[str] = []
    position = 0
    for start, end, added in ordered:
        result += base[position:start] + added
        position = max(position, end)
    return result + base[position:]


def _keep_places(
    base: list[str],
    ours: list[str],
    theirs: list[str],
    merged: list[str],
    checked: list[str],
    *,
    is_page: bool,
) -> bool:
    """Return whether lines that a side added stand below the same headers after the merge.

    checked: the lines to look at.
    """
    texts = {line.strip() for line in checked}
    before, mine, other, after = (
        Counter(_places(lines, is_page)) for lines in (base, ours, theirs, merged)
    )
    return all(
        after[place] >= mine[place] + other[place] - before[place]
        for place in (mine - before) | (other - before)
        if place[1] in texts and not place[1].startswith(ENDS)
    )


def _places(lines: list[str], is_page: bool) -> list[Place]:
    """Return each line that is not blank, with the headers above it.

    A header of a line is the nearest line before it that is indented less, or a section.
    """
    found: list[Place] = []
    headers: list[tuple[int, str]] = []
    for line in lines:
        text = line.strip()
        if not text:
            continue
        depth = _depth(line, is_page)
        above = [header for header in headers if header[0] < depth]
        found.append((tuple(name for _, name in above), text))
        # Comments and closing brackets open nothing, whatever their indentation is.
        if depth < 0 or not text.startswith(("#", *ENDS)):
            headers = [*above, (depth, _header(text))]
    return found


def _depth(line: str, is_page: bool) -> int:
    """Return how deep a line stands; what is below a line is deeper. Sections are below 0."""
    if is_page and (heading := HEADING.match(line)):
        return len(heading[1]) - 10
    if SECTION.match(line):
        return -1
    text = line.lstrip()
    indentation = len(line[: len(line) - len(text)].expandtabs())
    # In YAML, the items of a list may have the indentation of its name.
    return 2 * indentation + text.startswith("- ")


def _header(text: str) -> str:
    """Return what identifies a header: the name of a function or class, and else all of it."""
    match = DEFINITION.match(text)
    return match[1] or text if match else text


def _combine_lists(base: list[str], ours: list[str], theirs: list[str]) -> list[str] | None:
    """Merge three texts of nothing but imports and lists such as `__all__`; None for any others."""
    before, mine, other = (_lists("".join(side)) for side in (base, ours, theirs))
    if before is None or mine is None or other is None or not (mine and other):
        return None
    lines: list[str] = []
    end = "\r\n" if (base or ours)[0].endswith("\r\n") else "\n"
    for target in dict.fromkeys([*mine, *other]):
        if target != IMPORTS and target in before and not (target in mine and target in other):
            return None  # a side deleted the list
        was, here, there = (side.get(target, {}) for side in (before, mine, other))
        removed = [item for item in was if item not in here or item not in there]
        items = [item for item in dict.fromkeys([*here, *there]) if item not in removed]
        if list(was) == sorted(was):
            items.sort()
        if target == IMPORTS:
            lines += items
        else:
            lines += [f"{target} = [", *(f"    {item}," for item in items), "]"]
    return [line + end for line in lines]


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


def _defined(lines: list[str], is_page: bool) -> set[Place]:
    """Return the names that lines define, with the headers above them."""
    found: set[Place] = set()
    for headers, line in _places(lines, is_page):
        match = DEFINITION.match(line)
        if match or SECTION.match(line):
            found.add((headers, match[1] or match[2] if match else line))
    return found


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "surrogateescape").splitlines(keepends=True)


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
