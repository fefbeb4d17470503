"""Resolve conflicts in which both sides changed adjacent lines, but not the same lines.

Git reports a conflict wherever the changes of two sides are adjacent. For example, a team and the
template may both add a route after the last one. Neither has changed a line of the other.
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

IMPORTS: Final = "import"  # a keyword, so that no list can have this name
# The name that a line defines. Two sides that both add the same name disagree.
DEFINITION: Final = re.compile(
    r"""^\s*(?:(?:async\s+)?def|class)\s+(\w+)|^\s*(?:-\s+)?["']?([\w.-]+)["']?\s*(?::|=(?!=))"""
)
# Lines that begin a section without indentation: `[x]` in TOML and INI, `FROM` in a Dockerfile.
SECTION: Final = re.compile(r"\[{1,2}[^\[\]]+\]{1,2}\s*(#.*)?$|FROM\s")
HEADING: Final = re.compile(r"(#{1,6})\s")
ENDS: Final = (")", "]", "}")
PARSERS: Final[dict[str, Callable[[str], object]]] = {".py": ast.parse, ".toml": tomllib.loads}

# Lines [start, end) of the base, and the lines that replace them on a side.
Edit = tuple[int, int, list[str]]
# The headers above a line, the outermost first, and the line itself.
Place = tuple[tuple[str, ...], str]


def merge(name: str, ours: bytes, base: bytes, theirs: bytes) -> bytes | None:
    """Merge three versions of a file, or return None if they disagree.

    name: the file's path. Python and TOML must parse after the merge. Versions that are not text
    always disagree.
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
    """Return whether our version keeps less than a quarter of the lines of the base."""
    before = [line for line in base.splitlines() if line.strip()]
    kept = set(ours.splitlines())
    return sum(line in kept for line in before) < len(before) / 4


def combine(
    base: list[str], ours: list[str], theirs: list[str], *, is_page: bool = False
) -> list[str] | None:
    """Apply the edits of two sides to the same lines, or return None where they overlap.

    If both sides add lines at the same place, keep both additions, unless they define the same
    name. Each line must stay below the headers under which its side put it. Our lines come first,
    or theirs if only that order works. If no order works, return None. is_page: the lines are
    Markdown.
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
    """Return whether two edits change the same lines, or add the same name at the same place."""
    (start, end, added), (other_start, other_end, other_added) = edit, other
    if start == end == other_start == other_end:
        return bool(_defined(added, is_page) & _defined(other_added, is_page))
    return start < other_end and other_start < end


def _apply(base: list[str], first: list[Edit], second: list[Edit]) -> list[str]:
    """Apply edits that do not overlap. At the same place, the lines of `first` come first."""
    # Insertions come before a replacement that begins at the same place.
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
    """Return whether lines that a side added are below the same headers after the merge.

    checked: the lines to check.
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

    A header is the nearest line above that has less indentation, or that begins a section.
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
        # Comments and closing brackets are never headers.
        if depth < 0 or not text.startswith(("#", *ENDS)):
            headers = [*above, (depth, _header(text))]
    return found


def _depth(line: str, is_page: bool) -> int:
    """Return the depth of a line, which is greater below a header. Sections are below 0."""
    if is_page and (heading := HEADING.match(line)):
        return len(heading[1]) - 10
    if SECTION.match(line):
        return -1
    text = line.lstrip()
    indentation = len(line[: len(line) - len(text)].expandtabs())
    # In YAML, the items of a list may have the indentation of its name.
    return 2 * indentation + text.startswith("- ")


def _header(text: str) -> str:
    """Return the identity of a header: the name of a function or class, or the whole line."""
    match = DEFINITION.match(text)
    return match[1] or text if match else text


def _combine_lists(base: list[str], ours: list[str], theirs: list[str]) -> list[str] | None:
    """Merge texts with only imports and lists such as `__all__`; None for other texts."""
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

    Return None if the text contains anything else. A comment also counts, because the merged text
    has no place for it.
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
                return None  # repeated items may be intended
            found[node.targets[0].id] = dict.fromkeys(items)
        else:
            return None
    return found


def _item(text: str, node: ast.expr) -> str:
    """Return the text of an item, with double quotes around simple strings."""
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
    """Return git's merge, with conflict markers, or None for files that are not text."""
    with TemporaryDirectory() as folder:
        files = []
        for name, content in (("ours", ours), ("base", base), ("theirs", theirs)):
            file = Path(folder, name)
            # Without a final newline, git would append a marker to the last line.
            file.write_bytes(content if content.endswith(b"\n") or not content else content + b"\n")
            files.append(str(file))
        command = ["git", "merge-file", "-p", "--diff3", f"--marker-size={MARKER_LENGTH}"]
        result = subprocess.run(
            [*command, *files], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        # Up to 127, the exit code is the number of conflicts.
        return result.stdout if result.returncode <= 127 else None
