"""A major version that moves a file with a line in `copier.yml`."""

from pathlib import Path

import pytest

from scripts.check_template import BACKEND, TEMPLATE
from tests.support.commands import COPIER, commit, git, run
from tests.support.rendering import add_move, backend, data, example_move, without_moves
from tests.support.variants import columns
from tests.update.history import History, replace

BEFORE, MAJOR = "v6999.0.0", "v7000.0.0"
OLD, NEW = "app/old.py", "app/new.py"  # as in the example
GONE = "app/gone.py"
TEXT = """FIRST = 1


# Lines between the two, so that changes to them do not touch.


LAST = 2
"""


@pytest.fixture
def template(history: History, tmp_path: Path) -> Path:
    """Return the template with a major version that moves a file and changes its first line."""
    template = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", history.repository, template)
    git(template, "checkout", "--quiet", history.current)
    config = template / "copier.yml"
    config.write_text(without_moves(config.read_text(encoding="utf-8")), encoding="utf-8")
    backend = template / TEMPLATE / BACKEND
    (backend / OLD).write_text(TEXT)
    (backend / GONE).write_text(TEXT)
    commit(template, "A file", tag=BEFORE)
    git(backend, "mv", OLD, NEW)
    replace(backend / NEW, r"\A.*\n", '"""Moved."""\n')
    (backend / GONE).unlink()
    gone = f'"{{{{ backend_dir }}}}/{GONE}"'
    line = example_move(template).replace("v2.0.0", MAJOR)
    add_move(template, line.replace(f'{NEW}"]', f'{NEW}", {gone}, {gone}]'))
    commit(template, "Move the file", tag=MAJOR)
    return template


@pytest.fixture
def project(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> Path:
    """Return a project of the previous version, in the layout that a test requests."""
    project = tmp_path / "project"
    command = [*COPIER, "copy", "--defaults", "--quiet", f"--vcs-ref={BEFORE}"]
    layout = data({"repo_layout": getattr(request, "param", "backend")})
    run([*command, *layout, template, project], tmp_path)
    git(project, "init", "--quiet")
    commit(project, "Start from the template")
    return project


def update(project: Path, *arguments: str, exit_code: int = 0) -> str:
    command = [*COPIER, "update", "--defaults", f"--vcs-ref={MAJOR}", *arguments]
    return run(command, project, exit_code=exit_code)


def test_move_requires_trust(project: Path) -> None:
    assert "migrations" in update(project, exit_code=4)
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("project", columns()["repo_layout"], indirect=True)
def test_edits_follow_a_moved_file(template: Path, project: Path) -> None:
    part = backend(project)
    replace(part / OLD, r"\Z", "# Ours.\n")
    commit(project, "Our edit")
    update(project, "--trust")
    moved = (template / TEMPLATE / BACKEND / NEW).read_text(encoding="utf-8")
    assert not (part / OLD).exists()
    assert (part / NEW).read_text(encoding="utf-8") == moved + "# Ours.\n"

    commit(project, "Update")
    update(project, "--trust")
    assert git(project, "status", "--porcelain") == ""


def test_move_is_idempotent(template: Path, project: Path) -> None:
    replace(project / OLD, r"\Z", "# Ours.\n")
    replace(project / OLD, r"\A.*\n", '"""Ours."""\n')
    commit(project, "Our edits")
    update(project, "--trust")
    once = (project / NEW).read_bytes()
    assert once.startswith(b'<<<<<<< before updating\n"""Ours."""\n=======\n"""Moved."""\n>>>>>>> ')
    assert once.endswith(b"# Ours.\n")
    run([COPIER[0], template / "hooks/migrations/move.py", OLD, NEW], project)
    assert (project / NEW).read_bytes() == once


def test_file_that_was_never_edited_moves_without_a_conflict(template: Path, project: Path) -> None:
    update(project, "--trust")
    moved = (template / TEMPLATE / BACKEND / NEW).read_bytes()
    assert (project / NEW).read_bytes() == moved
    assert not (project / OLD).exists()


def test_deleted_file_stays_deleted(project: Path) -> None:
    (project / OLD).unlink()
    commit(project, "Without it")
    update(project, "--trust")
    assert not (project / OLD).exists()
    assert not (project / NEW).exists()


@pytest.mark.parametrize("project", columns()["repo_layout"], indirect=True)
def test_removed_file_stays_if_it_was_edited(project: Path) -> None:
    part = backend(project)
    replace(part / GONE, r"\Z", "# Ours.\n")
    commit(project, "Our edit")
    assert f"{GONE}, which the template has removed" in update(project, "--trust")
    assert (part / GONE).read_text(encoding="utf-8") == TEXT + "# Ours.\n"


def test_removed_file_that_was_never_edited_is_deleted(project: Path) -> None:
    update(project, "--trust")
    assert not (backend(project) / GONE).exists()
