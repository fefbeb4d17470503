"""Follow the steps that a page of a generated project describes."""

import re
from collections.abc import Mapping
from pathlib import Path

from tests.support.commands import run

# A code block, and the line above it that says where the code belongs.
STEP = re.compile(
    r"(?:^`(?P<path>[^`\n]+)`, (?P<how>a new file|at the end|changed|its functions)[^\n]*:\n\n)?"
    r"^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

# Code for the frontend, for a database on another server, and for a proxy.
ELSEWHERE = ("ts", "sql", "nginx")


def follow(
    page: str, project: Path, environment: Mapping[str, str], *, commands: bool = True
) -> None:
    """Do all steps of a page except `make dev`, which is already running.

    commands: whether to run the commands, too.
    """
    text = (project / page).read_text(encoding="utf-8")
    steps = list(STEP.finditer(text))
    assert len(steps) == text.count("```") / 2
    for step in steps:
        if step["language"] == "sh":
            for command in step["text"].splitlines():
                if commands and command != "make dev":
                    run(["sh", "-c", command], project, environment)
        elif step["language"] not in ELSEWHERE:
            assert step["how"], step[0]
            (path,) = list(project.glob(step["path"])) or [project / step["path"]]
            write(path, step["how"], step["text"])


def write(path: Path, how: str, text: str) -> None:
    """Write a code block of a page into its file."""
    if how == "a new file":
        assert not path.exists()
        path.write_text(text, encoding="utf-8")
        return
    content = path.read_text(encoding="utf-8")
    if how == "at the end":
        content += text
    elif how == "its functions":
        content = content[: content.index("def upgrade")] + text
    else:
        for hunk in text.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            assert content.count(before) == 1, f"{path} has changed, and the page has not"
            after = "".join(line[1:] for line in lines if line[0] in " +")
            content = content.replace(before, after)
    path.write_text(content, encoding="utf-8")
