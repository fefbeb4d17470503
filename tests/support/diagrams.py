"""Parse the Mermaid diagrams of a page, so that tests can check their claims."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

# A node, named as the file in its label, and those that it points to: api["app/api: …"] --> db
NODE: Final = re.compile(r' +(\w+)\["app/\1\b.*?"\](?: --> (\w+(?: & \w+)*))?')
# A request, T->>B: GET /path, or its response, B-->>T: 200 …
CALL: Final = re.compile(r" +(\w+)->>B: ([A-Z]+) (\S+)")
RESPONSE: Final = re.compile(r" +B-->>(\w+): (\d{3})\b.*")

Arrow = tuple[str, str]
Call = tuple[str, str, int]


def diagram(page: Path, kind: str) -> str:
    """Return the only diagram of a kind on a page, without its first line."""
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
    """Return the requests of each participant to the backend: method, path and status."""
    pending: dict[str, tuple[str, str]] = {}
    found: defaultdict[str, list[Call]] = defaultdict(list)
    for line in sequence.splitlines():
        if call := CALL.fullmatch(line):
            pending[call[1]] = call[2], call[3]
        elif response := RESPONSE.fullmatch(line):
            found[response[1]].append((*pending.pop(response[1]), int(response[2])))
    assert not pending, f"requests without a response: {pending}"
    return dict(found)
