"""Rendering in tests: pytest-copie, wrapped so that it hides no error."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from copier import run_copy
from pytest_copie.plugin import Copie

from scripts.check_template import ROOT, load_config
from tests.support.commands import commit, git
from tests.support.variants import Answers

RELEASE: Final = "v0.0.0"
# The process that starts the tests sets it for its workers; see `tests/conftest.py`.
RELEASE_VARIABLE: Final = "TEMPLATE_RELEASE"


def release() -> Path:
    """Return the repository to render: the work tree, committed and tagged."""
    return Path(os.environ[RELEASE_VARIABLE])


def make_release(target: Path) -> None:
    """Commit and tag a copy of the work tree.

    From a changed work tree, Copier would record a commit that exists nowhere.
    """
    copy_work_tree(target)
    git(target, "init", "--quiet")
    commit(target, "Release", tag=RELEASE)


def copy_work_tree(target: Path) -> None:
    """Copy all files of the work tree except those that git ignores."""
    names = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, names.split("\0")):
        source = ROOT / name
        if source.exists():  # its deletion may not be committed yet
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)


def render(copie: Copie, answers: Answers, template: Path | None = None) -> Path:
    """Render into a new folder without trust.

    pytest-copie does not raise exceptions, and Copier ignores answers to unknown questions. Here,
    both cases fail.
    """
    template = template or release()
    unknown = answers.keys() - load_config(template).keys()
    assert not unknown, f"there are no such questions: {unknown}"
    result = copie.copy(dict(answers), template_dir=template)
    if result.exception is not None:
        raise result.exception
    assert result.exit_code == 0
    assert result.project_dir is not None
    assert result.answers.items() >= answers.items()
    return result.project_dir


def without_trust(copie: Copie) -> Iterator[Copie]:
    """Yield a pytest-copie that does not trust the template, unlike the original."""

    def copy(**options: Any) -> object:
        return run_copy(**options | {"unsafe": False, "quiet": True})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_copie.plugin.run_copy", copy)
        yield copie


def example_move(template: Path) -> str:
    """Return the example in `copier.yml`, which moves app/old.py to app/new.py in 2.0.0."""
    text = (template / "copier.yml").read_text(encoding="utf-8")
    (line,) = re.findall(r"^# (- \{version: .*\})$", text, re.MULTILINE)
    return str(line)


def add_move(template: Path, line: str) -> None:
    """Register a move before the existing ones."""
    config = template / "copier.yml"
    text = config.read_text(encoding="utf-8")
    changed, found = re.subn(r"(?m)^_migrations:( \[\])?$", lambda _: f"_migrations:\n{line}", text)
    assert found == 1
    config.write_text(changed, encoding="utf-8")


def without_moves(config: str) -> str:
    """Return the text of a `copier.yml` without the moves that it registers."""
    return re.sub(r"(?m)^_migrations:(?: \[\]|(?:\n[- ] .*)+)$", "_migrations: []", config)


def backend(project: Path) -> Path:
    """Return the backend's folder in a project: the root, or `backend/` in a monorepo."""
    part = project / "backend"
    return part if part.exists() else project


def files(project: Path) -> dict[str, bytes]:
    """Return the contents of all files of a project by path, without those of git."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(project).parts
    }


def data(answers: Answers) -> list[str]:
    """Return answers as arguments of Copier's command line."""
    return [f"--data={name}={value}" for name, value in answers.items()]


def isolation(folder: Path) -> dict[str, str]:
    """Return an environment in which git and Copier ignore the developer's settings."""
    settings = folder / "copier-settings.yml"
    settings.write_text(json.dumps({}), encoding="utf-8")
    config = {
        "user.name": "Template Tests",
        "user.email": "tests@example.com",
        "commit.gpgsign": "false",
        "tag.gpgsign": "false",
        "core.autocrlf": "false",
        "core.hooksPath": os.devnull,
        "init.defaultBranch": "main",
        "protocol.file.allow": "always",
    }
    environment = {
        "COPIER_SETTINGS_PATH": str(settings),
        "GIT_CONFIG_COUNT": str(len(config)),
        "PYTHONUTF8": "1",  # on Windows too
    }
    for number, (key, value) in enumerate(config.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment
