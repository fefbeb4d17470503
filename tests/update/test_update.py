"""`copier update` of a project, without trust."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from scripts.check_template import ROOT, load_config
from tests.support.commands import COPIER, commit, git, run
from tests.support.rendering import backend, data, files
from tests.support.variants import TEXTS, Answers, columns
from tests.update.history import NEXT, PREVIOUS, TIMEOUT, History, ProjectFrom, origins, replace
from tests.update.own_work import (
    ADDED,
    OWN_FILES,
    OWN_TEXT,
    add_own_file,
    assert_work_is_there,
    do_work,
)

ANSWERS: Answers = {"project_name": "Shop", "cookie_samesite": "strict"}
MIGRATIONS = "alembic/versions/"
# The files at the root of a monorepo that no update changes.
OWNED = {re.sub(r"{%.*?%}/?", "", it) for it in load_config(ROOT)["_skip_if_exists"]}
# The column that is not a question, and the question whose answer cannot change.
NO_ANSWERS_THAT_CHANGE = {TEXTS, "repo_layout"}

FROM_EVERY_VERSION = pytest.mark.parametrize("origin", origins())
IN_EACH_LAYOUT = pytest.mark.parametrize("layout", columns()["repo_layout"])


def update(project: Path, version: str, *arguments: str) -> str:
    """Update a project with its recorded answers.

    Trust the template only if the update passes a version that moves files.
    """
    origin = yaml.safe_load((project / ".copier-answers.yml").read_text())["_commit"]
    moves = load_config(ROOT).get("_migrations") or []
    crossed = [it for it in moves if Version(origin) < Version(it["version"]) <= Version(version)]
    trust = ["--trust"] if crossed else []
    command = [*COPIER, "update", "--defaults", f"--vcs-ref={version}", *trust, *arguments]
    return run(command, project)


def fresh(history: History, version: str, answers: Answers, folder: Path) -> dict[str, bytes]:
    """Return the files of a new project of a version."""
    command = [*COPIER, "copy", "--defaults", "--quiet", f"--vcs-ref={version}", *data(answers)]
    run([*command, history.repository, folder], folder.parent)
    return files(folder)


def brought(content: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files that updates change.

    Updates change neither migrations nor the files around the backend of a monorepo.
    """
    owned = OWNED if "backend/README.md" in content else set()
    return {
        name: it
        for name, it in content.items()
        if MIGRATIONS not in name and owned.isdisjoint({name, name.partition("/")[0]})
    }


@FROM_EVERY_VERSION
@IN_EACH_LAYOUT
def test_update_converges_to_a_fresh_render(
    history: History, project_from: ProjectFrom, tmp_path: Path, origin: str, layout: str
) -> None:
    answers = {**ANSWERS, "repo_layout": layout}
    project = project_from(origin, answers)
    before = files(project)
    update(project, history.current)
    after = files(project)
    new = fresh(history, history.current, answers, tmp_path / "fresh")
    assert brought(after) == brought(new)
    assert after.keys() - brought(after).keys() == before.keys() - brought(before).keys()
    for name in before.keys() - brought(before).keys():
        assert after[name] == before[name]


@FROM_EVERY_VERSION
@IN_EACH_LAYOUT
def test_update_keeps_the_work_of_the_project(
    history: History, project_from: ProjectFrom, origin: str, layout: str
) -> None:
    project = project_from(origin, {**ANSWERS, "repo_layout": layout})
    do_work(project)
    deleted = [".editorconfig", "docs/pgvector.md", "alembic/versions/0001_initial.py"]
    for name in deleted:
        (backend(project) / name).unlink()
    commit(project, "Our work")
    update(project, history.current)
    assert git(project, "ls-files", "--unmerged") == ""
    assert_work_is_there(project)
    assert [name for name in deleted if (backend(project) / name).exists()] == []


def test_update_does_not_change_the_root_files_of_a_monorepo(
    history: History, project_from: ProjectFrom
) -> None:
    project = project_from(PREVIOUS, {**ANSWERS, "repo_layout": "monorepo"})
    replace(project / "README.md", r"\A", "Ours.\n")
    (project / "Procfile.dev").unlink()
    commit(project, "Our root")
    update(project, history.current, "--conflict=rej")
    assert list(project.rglob("*.rej")) == []
    assert (project / "README.md").read_text(encoding="utf-8").startswith("Ours.\n")
    assert not (project / "Procfile.dev").exists()


def test_layout_can_be_changed_with_the_documented_commands(
    history: History, project_from: ProjectFrom, tmp_path: Path
) -> None:
    project = project_from(history.current, ANSWERS)
    do_work(project)
    (project / "scripts").mkdir()
    (project / "scripts/ours.sh").touch()
    commit(project, "Our work")
    page = (project / "docs/updating.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```sh\n( +renders=.*?)```", page, re.DOTALL)
    run(["sh", "-ec", commands.replace("uvx copier", shlex.join(COPIER))], project)

    assert_work_is_there(project)
    assert (project / "scripts/ours.sh").exists()
    monorepo = {**ANSWERS, "repo_layout": "monorepo"}
    new = fresh(history, history.current, monorepo, tmp_path / "fresh")
    same = {name for name, text in new.items() if files(project)[name] == text}
    # All files except those with this work: the files of ADDED, the models and the workflow.
    assert len(new.keys() - same) == len(ADDED) + 2
    update(project, NEXT)
    assert_work_is_there(project)


# Every choice, starting from another choice: the update has to remove things and to add things.
@pytest.mark.parametrize(
    ("question", "choice"),
    [
        (name, choice)
        for name, offered in columns().items()
        if name not in NO_ANSWERS_THAT_CHANGE
        for choice in offered
    ],
)
def test_project_with_a_changed_answer_equals_a_fresh_render(
    history: History, project_from: ProjectFrom, tmp_path: Path, question: str, choice: str
) -> None:
    other = next(it for it in columns()[question] if it != choice)
    project = project_from(history.current, {**ANSWERS, question: other})
    update(project, history.current, *data({question: choice}))
    new = fresh(history, history.current, {**ANSWERS, question: choice}, tmp_path / "fresh")
    assert files(project) == new


@IN_EACH_LAYOUT
def test_update_with_changed_answers_equals_a_fresh_render(
    history: History, project_from: ProjectFrom, tmp_path: Path, layout: str
) -> None:
    before = {**ANSWERS, "repo_layout": layout}
    changed: Answers = {
        "package_manager": "pip",
        "deploy_target": "render",
        "frontend_origin": "https://shop.example.com",
    }
    project = project_from(PREVIOUS, before)
    update(project, history.current, *data(changed))
    new = fresh(history, history.current, {**before, **changed}, tmp_path / "fresh")
    assert brought(files(project)) == brought(new)


def test_update_in_several_steps_equals_one_update(
    history: History, project_from: ProjectFrom
) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    git(project, "branch", "--quiet", "one-hop")
    for version in [*origins()[1:], history.current, NEXT]:
        update(project, version)
        commit(project, f"Update to {version}")
    hops = files(project)
    git(project, "checkout", "--quiet", "one-hop")
    update(project, NEXT)
    assert files(project) == hops
    assert b"A line of the next version." in hops["app/main.py"]
    assert "alembic/versions/0002_next.py" not in hops


def test_update_to_the_same_version_changes_nothing(
    history: History, project_from: ProjectFrom
) -> None:
    project = project_from(history.current, ANSWERS)
    update(project, history.current)
    assert git(project, "status", "--porcelain") == ""


def test_recopy_of_the_same_version_changes_nothing(
    history: History, project_from: ProjectFrom
) -> None:
    project = project_from(history.current, ANSWERS)
    run([*COPIER, "recopy", "--force", f"--vcs-ref={history.current}"], project)
    assert git(project, "status", "--porcelain") == ""


def test_update_applies_the_newest_version_that_check_update_finds(
    history: History, project_from: ProjectFrom
) -> None:
    project = project_from(history.current, ANSWERS)
    run([*COPIER, "check-update", "--quiet"], project, exit_code=2)
    run([*COPIER, "update", "--defaults"], project)
    assert f"_commit: {NEXT}\n" in (project / ".copier-answers.yml").read_text(encoding="utf-8")
    run([*COPIER, "check-update", "--quiet"], project)


def test_conflict_is_visible_and_loses_nothing(history: History, disagreeing: Path) -> None:
    update(disagreeing, history.current)
    workflow = ".github/workflows/ci.yml"
    text = (disagreeing / workflow).read_text(encoding="utf-8")
    ours, theirs = text.partition("=======\n")[::2]
    assert "<<<<<<< before updating\n    timeout-minutes: 99\n" in ours
    assert theirs.startswith(f"    {TIMEOUT}\n>>>>>>> after updating\n")
    assert git(disagreeing, "diff", "--name-only", "--diff-filter=U").split() == [workflow]


@pytest.mark.parametrize("name", OWN_FILES)
def test_file_that_the_project_already_has_is_in_conflict_and_loses_nothing(
    history: History, project_from: ProjectFrom, name: str
) -> None:
    project = add_own_file(project_from(PREVIOUS, ANSWERS), name)
    update(project, history.current)
    text = (project / name).read_text(encoding="utf-8")
    assert f"<<<<<<< before updating\n{OWN_TEXT}=======\n" in text
    assert git(project, "diff", "--name-only", "--diff-filter=U").split() == [name]


def test_update_can_be_reverted(history: History, disagreeing: Path) -> None:
    before = files(disagreeing)
    update(disagreeing, history.current)
    commands = (disagreeing / "docs/updating.md").read_text(encoding="utf-8")
    back = (
        commands.partition("`copier update` changes")[2].partition("```sh\n")[2].partition("```")[0]
    )
    run(["sh", "-ec", back], disagreeing)
    assert files(disagreeing) == before
    assert git(disagreeing, "status", "--porcelain") == ""


@pytest.mark.parametrize("layout", columns()["repo_layout"])
@pytest.mark.parametrize("origin", [*origins(), "current"])
def test_update_cannot_change_the_layout(
    history: History, project_from: ProjectFrom, layout: str, origin: str
) -> None:
    other = next(it for it in columns()["repo_layout"] if it != layout)
    version = history.current if origin == "current" else origin
    project = project_from(version, {**ANSWERS, "repo_layout": layout})
    before = files(project)
    command = [*COPIER, "update", "--defaults", "--trust", f"--vcs-ref={history.current}"]
    output = run([*command, f"--data=repo_layout={other}"], project, exit_code=1)
    assert "Validation error for question 'repo_layout'" in output
    assert files(project) == before


def test_update_prints_no_warning_and_names_the_command(
    history: History, project_from: ProjectFrom
) -> None:
    output = update(project_from(PREVIOUS, ANSWERS), history.current)
    assert "Warning" not in output
    assert "make template-update" in output


def test_update_with_uncommitted_changes_is_rejected(
    history: History, project_from: ProjectFrom
) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    replace(project / "README.md", r"\Z", "Not committed.\n")
    before = files(project)
    command = [*COPIER, "update", "--defaults", "--trust", f"--vcs-ref={history.current}"]
    output = run(command, project, exit_code=1)
    assert "dirty" in output
    assert files(project) == before
