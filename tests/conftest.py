"""Fixtures of all tests: a committed copy of the template, and pytest-copie without trust."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_copie.plugin import Copie

from scripts.projects import project_environment, python_answer
from tests.support.commands import git, run
from tests.support.rendering import (
    RELEASE_VARIABLE,
    isolation,
    make_release,
    release,
    render,
    without_trust,
)
from tests.support.variants import Answers

# These tests run in a rendered project; see tests/real/test_slow.py.
collect_ignore = ["project"]

# Long tests come first, so that no worker waits for another at the end.
TIERS = ("real", "run", "update", "render", "static")


def pytest_configure(config: pytest.Config) -> None:
    """Create the release to render, once. The workers find it through the environment."""
    if hasattr(config, "workerinput"):
        return
    folder = Path(tempfile.mkdtemp(prefix="template-"))
    if not config.option.keep_copied_projects:
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ.update(isolation(folder))
    # Not in the folder that all runs of pytest share: each of them, such as a project's own, closes
    # it to other users. As root, the embedded Postgres runs as another user.
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
    os.environ[RELEASE_VARIABLE] = str(folder / "release")
    make_release(folder / "release")


@pytest.fixture(scope="session")
def tmp_path_factory(tmp_path_factory: pytest.TempPathFactory) -> pytest.TempPathFactory:
    """Return pytest's factory of folders, which creates folders that other users can enter.

    As root, the embedded Postgres of a project runs as another user.
    """
    root = Path(os.environ["PYTEST_DEBUG_TEMPROOT"])
    make_closed = tmp_path_factory.mktemp

    def make_open(basename: str, numbered: bool = True) -> Path:
        folder = make_closed(basename, numbered)
        for path in (folder, *folder.parents):
            if path.is_relative_to(root):
                path.chmod(path.stat().st_mode | 0o011)
        return folder

    tmp_path_factory.mktemp = make_open  # type: ignore[method-assign]  # pytest has no setting
    return tmp_path_factory


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier, which is its folder."""
    for item in items:
        item.add_marker(item.path.parent.name)
    items.sort(key=lambda item: TIERS.index(item.path.parent.name))


@pytest.fixture(scope="session")
def copie(copie_session: Copie) -> Iterator[Copie]:
    """Return pytest-copie, changed so that it does not trust the template."""
    yield from without_trust(copie_session)


@pytest.fixture(scope="session")
def rendered(copie: Copie) -> Callable[[Answers], Path]:
    """Return a function that renders answers into a new folder."""
    return lambda answers: render(copie, answers)


@pytest.fixture(scope="session")
def installed(rendered: Callable[[Answers], Path]) -> Callable[[Answers], Path]:
    """Return a function that renders answers for the current Python and installs the project."""

    def install(answers: Answers) -> Path:
        project = rendered({**answers, "python_version": python_answer()})
        run(["make", "install"], project, project_environment())
        return project

    return install


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a clone of the template."""
    git(tmp_path, "clone", "--quiet", release(), tmp_path / "clone")
    return tmp_path / "clone"
