"""A copy into a repository that already has a frontend and other files."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from scripts.check_template import ROOT
from tests.support.commands import COPIER, commit, git, run
from tests.support.rendering import data, files, release
from tests.support.variants import Answers

ANSWERS: Final = {"repo_layout": "monorepo"}
PAGE: Final = "backend/docs/monorepo.md"
OWN: Final = {
    "frontend/package.json": "{}\n",
    "AGENTS.md": "# Our agents\n",
    "README.md": "# Ours\n",
    ".gitignore": "node_modules/\n",
    "Makefile": "ours:\n\techo ours\n",
    "Procfile.dev": "ours: sleep 60\n",
    ".pre-commit-config.yaml": """repos:
  - repo: local
    hooks:
      - id: ours
        name: ours
        language: system
        entry: "true"
""",
    ".github/dependabot.yml": """version: 2
updates:
  - package-ecosystem: npm
    directory: /frontend
    schedule:
      interval: weekly
""",
    ".github/workflows/frontend.yml": "on: push\njobs: {}\n",
}
IN_THE_WAY: Final = (".github/workflows/backend.yml", "backend/README.md")


def make_repository(folder: Path, content: Mapping[str, str]) -> Path:
    """Return a repository with these files."""
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "init", "--quiet")
    commit(folder, "Ours")
    return folder


def copy(repository: Path, exit_code: int = 0) -> str:
    """Copy the template into a repository without questions, and return Copier's output."""
    command = [*COPIER, "copy", "--defaults", *data(ANSWERS), str(release()), "."]
    return run(command, repository, exit_code=exit_code)


@pytest.fixture
def adopted(tmp_path: Path) -> Path:
    """Return a repository with its own files, into which the template was copied."""
    repository = make_repository(tmp_path, OWN)
    copy(repository)
    return repository


def add(repository: Path, file: str) -> Path:
    """Add the lines that the page shows for a file, and return the file."""
    page = (repository / PAGE).read_text(encoding="utf-8")
    part = page.partition(f"\n**`{file}`**")[2]
    block = re.findall(r"^```\w+\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)[0]
    with (repository / file).open("a", encoding="utf-8") as target:
        target.write(block)
    return repository / file


def test_copy_keeps_own_files_and_adds_all_others(
    adopted: Path, rendered: Callable[[Answers], Path]
) -> None:
    assert git(adopted, "status", "--porcelain", "--untracked-files=no") == ""
    everything = files(rendered(ANSWERS))
    assert files(adopted) == everything | {name: text.encode() for name, text in OWN.items()}


def test_documented_additions_to_own_files_are_valid(adopted: Path) -> None:
    hooks = add(adopted, ".pre-commit-config.yaml")
    run([sys.executable, "-m", "pre_commit", "validate-config", hooks], adopted)
    assert "ruff-format" in [it["id"] for repo in load(hooks)["repos"] for it in repo["hooks"]]
    dependabot = add(adopted, ".github/dependabot.yml")
    schema = ["--builtin-schema", "vendor.dependabot"]
    run([sys.executable, "-m", "check_jsonschema", *schema, dependabot], adopted)
    assert [it["directory"] for it in load(dependabot)["updates"]] == ["/frontend", "/backend"]


def test_documented_hook_rejects_a_leftover_conflict(adopted: Path) -> None:
    add(adopted, ".pre-commit-config.yaml")
    git(adopted, "add", "--all")
    hook = [sys.executable, "-m", "pre_commit", "run", "--all-files", "conflict-markers"]
    run(hook, adopted)
    (adopted / "backend/app/main.py").write_text("<<<<<<< before updating\n", encoding="utf-8")
    run(hook, adopted, exit_code=1)


def test_git_ignores_the_files_that_the_backend_creates(adopted: Path) -> None:
    commit(adopted, "Start the new backend from the template")
    for name in (".env", ".venv/bin/python", ".postgres/PG_VERSION", "app/__pycache__/main.pyc"):
        (adopted / "backend" / name).parent.mkdir(parents=True, exist_ok=True)
        (adopted / "backend" / name).touch()
    assert git(adopted, "status", "--porcelain") == ""


def test_readme_commands_move_an_old_backend(tmp_path: Path) -> None:
    repository = make_repository(tmp_path, OWN | dict.fromkeys(IN_THE_WAY, "Old.\n"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Adopt it in a repository that you have\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^ +\$ (.*)$", section, re.MULTILINE)
    (place,) = [number for number, it in enumerate(commands) if " copier copy " in it]
    run(["sh", "-ec", "\n".join(commands[:place])], repository)
    assert commands[place].split()[:2] == ["uvx", "copier"]
    command = [*COPIER, "copy", "--defaults", *commands[place].split()[3:-2], str(release()), "."]
    run(command, repository)
    moved = [it.replace("backend", "backend-old") for it in IN_THE_WAY]
    assert [(repository / it).read_text(encoding="utf-8") for it in moved] == ["Old.\n"] * 2
    assert (repository / "backend/app/main.py").exists()
    assert git(repository, "status", "--porcelain", "--untracked-files=no") == ""


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_existing_file_stops_the_copy_and_is_unchanged(tmp_path: Path, name: str) -> None:
    repository = make_repository(tmp_path, OWN | {name: "Old.\n"})
    assert "--overwrite" in copy(repository, exit_code=1)
    git(repository, "clean", "--quiet", "--force", "-d")
    assert git(repository, "status", "--porcelain", "--ignored") == ""


def load(file: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))
