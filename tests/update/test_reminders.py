"""The hooks, workflows and commands that keep a generated project up to date."""

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.commands import COPIER, commit, git, run
from tests.support.rendering import backend
from tests.support.variants import columns
from tests.update.history import NEXT, PREVIOUS, History, ProjectFrom, replace
from tests.update.own_work import workflow

MARKERS = "No conflict markers or rejected hunks of an update"


def step(project: Path, workflow: str, name: str) -> str:
    """Return the shell script of a step."""
    text = (project / ".github/workflows" / workflow).read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["jobs"].values()
    (script,) = (it["run"] for it in job["steps"] if it.get("name") == name)
    return str(script)


@pytest.mark.parametrize("layout", columns()["repo_layout"])
@pytest.mark.parametrize("conflict_style", ["inline", "rej"])
def test_leftover_conflict_is_rejected_by_hooks_and_workflow(
    history: History, project_from: ProjectFrom, conflict_style: str, layout: str
) -> None:
    project = project_from(PREVIOUS, {"repo_layout": layout})
    hooks = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    check = step(project, workflow(project).name, MARKERS)
    for hook in ("conflict-markers", "rejects"):
        run([*hooks, hook], project)
    run(["bash", "-ec", check], backend(project))

    # A line that the new version of the template also changes.
    replace(backend(project) / "app/main.py", r"\A.*\n", '"""Ours."""\n')
    commit(project, "Our line")
    update = [
        "update",
        "--defaults",
        "--trust",
        f"--vcs-ref={history.current}",
        f"--conflict={conflict_style}",
    ]
    run([*COPIER, *update], project)
    git(project, "add", "--all")

    hook = "conflict-markers" if conflict_style == "inline" else "rejects"
    assert "app/main.py" in run([*hooks, hook], project, exit_code=1)
    check = step(project, workflow(project).name, MARKERS)
    assert "app/main.py" in run(["bash", "-ec", check], backend(project), exit_code=1)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Return a folder with substitutes for `pipx` and `gh`.

    Instead of pipx, uv runs the command from the same address. `gh` records its arguments, because
    GitHub is not available in a test.
    """
    tools = tmp_path / "tools"
    tools.mkdir()
    uvx = shlex.join([sys.executable, "-m", "uv", "tool", "run", "--quiet"])
    scripts = {
        "pipx": f'shift 2; exec {uvx} --refresh-package copier-fastapi-postgres --from "$@"',
        "gh": f'echo "$@" >> {shlex.quote(str(tools))}/calls; '
        'case "$1 $2" in "issue list") echo "${OPEN:-0}";; "pr create") exit "${PR:-0}"; esac',
    }
    for name, script in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    return tools


class Weekly:
    """The weekly workflow of a project, and the remote repository of the project."""

    def __init__(self, project: Path, tools: Path) -> None:
        self._tools = tools
        self.remote = tools / "remote.git"
        git(tools, "init", "--quiet", "--bare", str(self.remote))
        git(project, "push", "--quiet", str(self.remote), "HEAD:main")
        self._checkout = tools / "checkout"

    def run(self, exit_code: int = 0, **variables: str) -> str:
        """Run the step in a new shallow clone. Return the calls of `gh`, or the error output."""
        for folder in self._tools.glob("checkout*"):
            shutil.rmtree(folder)
        git(self._tools, "clone", "--quiet", "--depth=1", self.remote.as_uri(), self._checkout)
        script = step(self._checkout, "template-update.yml", "Update from the template")
        rewrite = f"url.{self.remote.as_uri()}.insteadOf"
        script = (
            f"git config {shlex.quote(rewrite)} "
            f'"https://x-access-token:$GH_TOKEN@github.com/$GITHUB_REPOSITORY"\n{script}'
        )
        calls = self._tools / "calls"
        calls.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "PATH": f"{self._tools}:{os.environ['PATH']}",
            "TITLE": "Update from the template",
            "REPORT": str(self._tools / "report.md"),
            "GH_TOKEN": "token",
            "GITHUB_REPOSITORY": "owner/name",
            **variables,
        }
        output = run(["bash", "-ec", script], self._checkout, environment, exit_code=exit_code)
        return calls.read_text() if calls.exists() else output if exit_code else ""

    def branches(self) -> list[str]:
        """Return the branches that were pushed."""
        return git(self.remote, "branch", "--format=%(refname:short)").split()


def with_address(project: Path, history: History) -> Path:
    """Return the project after its template address was replaced by a URL."""
    replace(
        project / ".copier-answers.yml",
        "_src_path: .*",
        f"_src_path: {history.repository.as_uri()}",
    )
    commit(project, "The template's address as a URL")
    return project


def test_newer_version_opens_one_pull_request(
    history: History, project_from: ProjectFrom, tools: Path
) -> None:
    weekly = Weekly(with_address(project_from(history.current, {}), history), tools)
    calls = weekly.run()
    branch = f"template/{NEXT.removeprefix('v')}"
    assert calls.startswith(f"pr create --head {branch} --title Update from the template")
    assert weekly.branches() == ["main", branch]
    assert "# Update of the template from" in (tools / "report.md.short").read_text()
    assert weekly.run() == ""


def test_conflicts_open_one_issue_with_the_preview(
    history: History, project_from: ProjectFrom, tools: Path
) -> None:
    project = with_address(project_from(PREVIOUS, {}), history)
    replace(project / ".github/workflows/ci.yml", "timeout-minutes: 10", "timeout-minutes: 99")
    commit(project, "Our timeout")
    weekly = Weekly(project, tools)
    calls = weekly.run()
    assert calls.splitlines()[0].startswith("issue list --state open")
    assert calls.splitlines()[1].startswith("issue create --title Update from the template")
    assert "## Conflicts" in (tools / "report.md.issue").read_text()
    assert weekly.branches() == ["main"]
    assert "issue create" not in weekly.run(OPEN="1")


def test_pull_request_that_github_rejects_becomes_an_issue(
    history: History, project_from: ProjectFrom, tools: Path
) -> None:
    weekly = Weekly(with_address(project_from(history.current, {}), history), tools)
    assert "issue create" in weekly.run(PR="1")


def test_newest_version_opens_nothing(
    history: History, project_from: ProjectFrom, tools: Path
) -> None:
    assert Weekly(with_address(project_from(NEXT, {}), history), tools).run() == ""


def test_template_that_cannot_be_reached_fails_the_workflow(
    project_from: ProjectFrom, tools: Path
) -> None:
    project = project_from(NEXT, {})
    replace(project / ".copier-answers.yml", "_src_path: .*", "_src_path: file:///nowhere")
    commit(project, "Another address")
    Weekly(project, tools).run(exit_code=1)


def test_template_in_a_folder_fails_the_workflow_with_the_reason(
    history: History, project_from: ProjectFrom, tools: Path
) -> None:
    output = Weekly(project_from(history.current, {}), tools).run(exit_code=1)
    assert "::error::The template came from a folder" in output
    assert "Set _src_path in .copier-answers.yml" in output


@pytest.mark.parametrize("layout", columns()["repo_layout"])
def test_make_runs_the_command_of_the_newest_version(
    history: History, project_from: ProjectFrom, layout: str
) -> None:
    project = project_from(history.current, {"repo_layout": layout})
    output = run(["make", "template-update", "ARGS=--preview"], backend(project))
    assert f"to {NEXT.removeprefix('v')}" in output
    run(["make", "template-update"], backend(project))
    assert f"template/{NEXT.removeprefix('v')}" in git(project, "branch")


def test_make_reports_that_pipx_is_missing(
    history: History, project_from: ProjectFrom, tmp_path: Path
) -> None:
    project = project_from(history.current, {"package_manager": "pip"})
    (tmp_path / "bin").mkdir()
    for name in ("git", "make", "sed", "sh"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "")
    path = {"PATH": str(tmp_path / "bin")}
    output = run(["make", "template-update"], project, path, exit_code=2)
    assert "Install pipx first" in output


def test_make_reports_that_the_template_has_moved(project_from: ProjectFrom) -> None:
    project = project_from(NEXT, {})
    replace(project / ".copier-answers.yml", "_src_path: .*", "_src_path: /nowhere/template")
    output = run(["make", "template-update"], project, exit_code=2)
    assert "If it has moved, set _src_path in .copier-answers.yml" in output
