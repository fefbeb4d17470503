"""The first commands: all pages, and the message after a copy, show the same in the same order."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.check_template import ROOT
from tests.support.commands import COPIER, run
from tests.support.rendering import backend, data, release
from tests.support.variants import Answers, choices, questions

START = [
    "make install",
    "git init -b main",
    "git add --all",
    'git commit -m "Start from the template"',
    "make dev",
]
CREATE_USER = "-m app create-user you@example.com"
BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MANAGERS = choices(questions()["package_manager"])


def first_commands(page: Path) -> list[str]:
    """Return the commands that a page shows, up to the one that creates a user."""
    commands = [
        line.removeprefix("$ ")
        for block in BLOCK.findall(page.read_text(encoding="utf-8"))
        for line in block.splitlines()
    ]
    end = next(number for number, line in enumerate(commands) if CREATE_USER in line)
    return commands[: end + 1]


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("layout", ["backend", "monorepo"])
def test_message_and_readmes_show_the_same_first_commands(
    tmp_path: Path, manager: str, layout: str
) -> None:
    answers = {"repo_layout": layout, "package_manager": manager}
    copy = [*COPIER, "copy", "--defaults", *data(answers)]
    message = (
        run([*copy, release(), "my-backend"], tmp_path).partition(" is ready. Next:\n")[2].rstrip()
    )
    project = tmp_path / "my-backend"

    commands_of_message = re.findall(r"^    (\S.*)$", message, re.MULTILINE)
    assert commands_of_message[0] == "cd my-backend"
    *start, create_user = commands_of_message[1:]
    assert start == START
    assert CREATE_USER in create_user
    assert not re.search(r"\n{3,}|[{}]", message)
    assert first_commands(project / "README.md") == [*START, create_user]
    if layout == "monorepo":
        own = [line for line in START if line.startswith("make")]
        assert first_commands(backend(project) / "README.md") == [
            *own,
            create_user.removeprefix("(cd backend && ").removesuffix(")"),
        ]
    elif manager == questions()["package_manager"]["default"]:
        render, enter, *commands = first_commands(ROOT / "README.md")
        assert render == "uvx copier copy https://HOST/OWNER/copier-fastapi-postgres.git my-backend"
        assert [enter, *commands] == commands_of_message


def test_first_commit_has_the_lock_file(installed: Callable[[Answers], Path]) -> None:
    project = installed({})
    for command in START[1:4]:
        run(["sh", "-c", command], project)
    committed = run(["git", "ls-files"], project).splitlines()
    assert "uv.lock" in committed
    assert not [name for name in committed if name.startswith((".venv/", ".env"))]
    assert run(["git", "branch", "--show-current"], project) == "main\n"
