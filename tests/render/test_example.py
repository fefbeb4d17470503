"""The branch `example`, which shows visitors a rendered project."""

import sys
from pathlib import Path

import pytest
import yaml

from scripts.check_template import BACKEND, TEMPLATE
from scripts.example import replace_address
from tests.support.commands import commit, git, run


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return an empty repository to push to."""
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    return tmp_path / "remote.git"


def publish(clone: Path, repository: Path) -> str:
    """Run the program in a clone of the template, and return its output."""
    return run([sys.executable, "-m", "scripts.example", repository.as_uri()], clone)


def commits(repository: Path) -> int:
    return int(git(repository, "rev-list", "--count", "example"))


def test_branch_gets_a_commit_only_if_the_project_has_changed(
    clone: Path, repository: Path
) -> None:
    assert publish(clone, repository) == "The branch example has a new commit.\n"
    names = git(repository, "ls-tree", "-r", "--name-only", "example").splitlines()
    assert {"AGENTS.md", "README.md", "app/main.py", ".github/dependabot.yml"} <= set(names)
    assert not [name for name in names if name.startswith(".github/workflows/")]
    answers = yaml.safe_load(git(repository, "show", "example:.copier-answers.yml"))
    assert answers["_src_path"] == repository.as_uri()

    (clone / "README.md").write_text("This file is not rendered.\n")
    commit(clone, "Change the template's own page")
    assert publish(clone, repository) == "The branch example is up to date.\n"
    assert commits(repository) == 1

    (clone / TEMPLATE / BACKEND / "alembic.ini").unlink()
    (clone / TEMPLATE / BACKEND / "new.txt").write_text("New.\n")
    commit(clone, "Change the project")
    assert publish(clone, repository) == "The branch example has a new commit.\n"
    assert commits(repository) == 2
    changed = git(repository, "diff", "--name-only", "example~", "example").splitlines()
    assert changed == [".copier-answers.yml", "alembic.ini", "new.txt"]


def test_repository_that_cannot_be_read_is_reported(clone: Path, tmp_path: Path) -> None:
    missing = (tmp_path / "missing.git").as_uri()
    output = run([sys.executable, "-m", "scripts.example", missing], clone, exit_code=1)
    assert "missing.git" in output
    assert "Traceback" not in output


def test_password_of_the_address_is_not_published(tmp_path: Path) -> None:
    answers = tmp_path / "answers.yml"
    answers.write_text("_commit: v1\n_src_path: /a/clone\n")
    assert replace_address(answers, "https://x-access-token:secret@example.com/o/r.git") == "v1"
    assert answers.read_text() == "_commit: v1\n_src_path: https://example.com/o/r.git\n"
