"""What keeps a generated project current, and clean after an update."""

import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.commands import COPIER, commit, git, run
from tests.rendering import backend
from tests.update.history import NEXT, PREVIOUS, History, ProjectFrom, replace
from tests.update.own_work import workflow
from tests.variants import columns

MARKERS = "No conflict markers or rejected hunks of an update"


def step(project: Path, workflow: str, name: str) -> str:
    """Give the shell script of a step."""
    text = (project / ".github/workflows" / workflow).read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["jobs"].values()
    (script,) = (it["run"] for it in job["steps"] if it.get("name") == name)
    return str(script)


@pytest.mark.parametrize("layout", columns()["repo_layout"])
@pytest.mark.parametrize("how", ["inline", "rej"])
def test_left_over_conflict_is_refused_by_hooks_and_workflow(
    history: History, project_from: ProjectFrom, how: str, layout: str
) -> None:
    project = project_from(PREVIOUS, {"repo_layout": layout})
    hooks = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    check = step(project, workflow(project).name, MARKERS)
    for hook in ("conflict-markers", "rejects"):
        run([*hooks, hook], project)
    run(["bash", "-ec", check], backend(project))

    # A line of which the template brings another version, too.
    replace(backend(project) / "app/main.py", r"\A.*\n", '"""Ours."""\n')
    commit(project, "Our line")
    update = ["update", "--defaults", f"--vcs-ref={history.current}", f"--conflict={how}"]
    run([*COPIER, *update], project)
    git(project, "add", "--all")

    hook = "conflict-markers" if how == "inline" else "rejects"
    assert "app/main.py" in run([*hooks, hook], project, exit_code=1)
    check = step(project, workflow(project).name, MARKERS)
    assert "app/main.py" in run(["bash", "-ec", check], backend(project), exit_code=1)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Give a folder with `pipx`, which runs this Copier, and `gh`, which notes what it is asked.

    GitHub itself can't be had in a test; what is asked of it can.
    """
    tools = tmp_path / "tools"
    tools.mkdir()
    copier = shlex.join(COPIER)
    scripts = {
        "pipx": f'shift 4; exec {copier} "$@"',
        "gh": f'echo "$@" >> {tools}/asked; if [ "$2" = list ]; then cat {tools}/open; fi',
    }
    for name, script in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    return tools


def remind(project: Path, tools: Path, exit_code: int = 0) -> str:
    """Run the weekly step; gives what it asked of GitHub."""
    script = step(project, "template-update.yml", "Open an issue when there is something newer")
    path = f"{tools}:{Path(shutil.which('git') or '').parent}:/usr/bin:/bin"
    said = run(
        ["bash", "-ec", script],
        project,
        {"PATH": path, "TITLE": "The template has a newer version", "HOME": str(tools)},
        exit_code=exit_code,
    )
    asked = tools / "asked"
    return asked.read_text() if asked.exists() else said


def with_address(project: Path, history: History) -> Path:
    replace(
        project / ".copier-answers.yml",
        "_src_path: .*",
        f"_src_path: git+file://{history.repository}",
    )
    commit(project, "The template's address as a URL")
    return project


@pytest.mark.parametrize(("already_open", "opened"), [(0, True), (1, False)])
def test_newer_version_opens_one_issue(
    history: History, project_from: ProjectFrom, tools: Path, already_open: int, opened: bool
) -> None:
    (tools / "open").write_text(f"{already_open}\n")
    asked = remind(with_address(project_from(history.current, {}), history), tools)
    assert asked.startswith("issue list --state open")
    assert ("issue create --title The template has a newer version" in asked) == opened


def test_newest_version_opens_no_issue(
    history: History, project_from: ProjectFrom, tools: Path
) -> None:
    assert remind(with_address(project_from(NEXT, {}), history), tools) == ""


def test_template_that_cannot_be_reached_fails_the_reminder(
    project_from: ProjectFrom, tools: Path
) -> None:
    project = project_from(NEXT, {})
    replace(project / ".copier-answers.yml", "_src_path: .*", "_src_path: git+file:///nowhere")
    remind(project, tools, exit_code=1)


def test_template_in_a_folder_is_told_of(
    history: History, project_from: ProjectFrom, tools: Path
) -> None:
    assert "::warning::" in remind(project_from(history.current, {}), tools)
