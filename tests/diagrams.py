"""Mermaid diagrams of a page, read as the claims that they are."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

# A node, named as the file in its label, and those that it points to: api["app/api: …"] --> db
NODE: Final = re.compile(r' +(\w+)\["app/\1\b.*?"\](?: --> (\w+(?: & \w+)*))?')
# A call, T->>B: GET /path, or what comes of it, B-->>T: 200 …
CALL: Final = re.compile(r" +(\w+)->>B: ([A-Z]+) (\S+)")
ANSWER: Final = re.compile(r" +B-->>(\w+): (\d{3})\b.*")

Arrow = tuple[str, str]
Call = tuple[str, str, int]


def diagram(page: Path, kind: str) -> str:
    """Return the one diagram of a kind that a page has, without its first line."""
    text = page.read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```mermaid\n{kind}\b.*\n((?:.*\n)+?)```$", text, re.MULTILINE)
    return str(found)


def arrows(flowchart: str) -> set[Arrow]:
    """Return the arrows of a flowchart of folders."""
    found = set()
    for line in flowchart.splitlines():
        node = NODE.fullmatch(line)
        assert node, f"no folder with its arrows: {line}"
        found |= {(node[1], target) for target in (node[2] or "").split(" & ") if target}
    return found


def calls(sequence: str) -> dict[str, list[Call]]:
    """Return what each participant asks the backend, as method, path and status."""
    asked: dict[str, tuple[str, str]] = {}
    found: defaultdict[str, list[Call]] = defaultdict(list)
    for line in sequence.splitlines():
        if call := CALL.fullmatch(line):
            asked[call[1]] = call[2], call[3]
        elif answer := ANSWER.fullmatch(line):
            found[answer[1]].append((*asked.pop(answer[1]), int(answer[2])))
    assert not asked, f"calls without an answer: {asked}"
    return dict(found)
