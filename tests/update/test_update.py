"""A project that follows the template: `copier update`, without trust."""

from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from hooks.check_template import ROOT, load_config
from tests.commands import COPIER, commit, git, run
from tests.rendering import data, files
from tests.update.history import NEXT, PREVIOUS, TIMEOUT, History, ProjectFrom, origins, replace
from tests.variants import Answers, columns

ANSWERS: Answers = {"project_name": "Shop", "cookie_samesite": "strict"}
MIGRATIONS = "alembic/versions/"

FROM_EVERY_VERSION = pytest.mark.parametrize("origin", origins())


def update(project: Path, version: str, *arguments: str) -> str:
    """Update a project as a person does who gives the answers of before.

    Without trust, but where a registered move lies between.
    """
    origin = yaml.safe_load((project / ".copier-answers.yml").read_text())["_commit"]
    moves = load_config(ROOT).get("_migrations") or []
    crossed = [it for it in moves if Version(origin) < Version(it["version"]) <= Version(version)]
    trust = ["--trust"] if crossed else []
    command = [*COPIER, "update", "--defaults", f"--vcs-ref={version}", *trust, *arguments]
    return run(command, project)


def fresh(history: History, version: str, answers: Answers, folder: Path) -> dict[str, bytes]:
    """Give the files of a new project of a version."""
    command = [*COPIER, "copy", "--defaults", "--quiet", f"--vcs-ref={version}", *data(answers)]
    run([*command, history.repository, folder], folder.parent)
    return files(folder)


def without_migrations(content: dict[str, bytes]) -> dict[str, bytes]:
    """Give the files that updates bring: the project's own migrations begin with its first day."""
    return {name: it for name, it in content.items() if not name.startswith(MIGRATIONS)}


@FROM_EVERY_VERSION
def test_update_converges_to_a_fresh_render(
    history: History, project_from: ProjectFrom, tmp_path: Path, origin: str
) -> None:
    project = project_from(origin, ANSWERS)
    before = files(project)
    update(project, history.current)
    after = files(project)
    new = fresh(history, history.current, ANSWERS, tmp_path / "fresh")
    assert without_migrations(after) == without_migrations(new)
    for name in before.keys() | after.keys():
        if name.startswith(MIGRATIONS):
            assert after[name] == before[name]


@FROM_EVERY_VERSION
def test_what_is_the_projects_own_survives(
    history: History, project_from: ProjectFrom, origin: str
) -> None:
    project = project_from(origin, ANSWERS)
    own = {
        "app/api/v1/notes.py": "# An endpoint.\n",
        "app/models/note.py": "# A model.\n",
        "alembic/versions/0002_notes.py": "# Its migration.\n",
    }
    for name, text in own.items():
        (project / name).write_text(text)
    # At the ends, away from what a version changes.
    added = {
        "app/api/v1/__init__.py": "# The endpoint's router.\n",
        "app/models/__init__.py": "# The model's import.\n",
        "env.example": "MY_SETTING=1\n",
        "README.md": "\nA paragraph of ours.\n",
        ".github/workflows/ci.yml": "      - run: make ours\n",
    }
    for name, text in added.items():
        replace(project / name, r"\Z", text)
    replace(project / "env.example", "JWT_ACCESS_TTL_SECONDS=900", "JWT_ACCESS_TTL_SECONDS=600")
    deleted = [".editorconfig", "docs/pgvector.md", "alembic/versions/0001_initial.py"]
    for name in deleted:
        (project / name).unlink()
    commit(project, "Our work")

    update(project, history.current)

    assert git(project, "ls-files", "--unmerged") == ""
    for name, text in own.items():
        assert (project / name).read_text() == text
    for name, text in added.items():
        assert (project / name).read_text(encoding="utf-8").endswith(text), name
    assert "JWT_ACCESS_TTL_SECONDS=600" in (project / "env.example").read_text(encoding="utf-8")
    assert [name for name in deleted if (project / name).exists()] == []


# Every choice, from one that it is not: the update then has to take back as well as to bring.
@pytest.mark.parametrize(
    ("question", "choice"),
    [(name, choice) for name in columns() if name != "texts" for choice in columns()[name]],
)
def test_changed_answer_gives_what_a_fresh_render_gives(
    history: History, project_from: ProjectFrom, tmp_path: Path, question: str, choice: str
) -> None:
    other = next(it for it in columns()[question] if it != choice)
    project = project_from(history.current, {**ANSWERS, question: other})
    update(project, history.current, *data({question: choice}))
    new = fresh(history, history.current, {**ANSWERS, question: choice}, tmp_path / "fresh")
    assert files(project) == new


def test_changed_answer_with_an_update_gives_what_a_fresh_render_gives(
    history: History, project_from: ProjectFrom, tmp_path: Path
) -> None:
    changed: Answers = {"package_manager": "pip", "frontend_origin": "https://shop.example.com"}
    project = project_from(PREVIOUS, ANSWERS)
    update(project, history.current, *data(changed))
    new = fresh(history, history.current, {**ANSWERS, **changed}, tmp_path / "fresh")
    assert without_migrations(files(project)) == without_migrations(new)


def test_many_hops_equal_one(history: History, project_from: ProjectFrom) -> None:
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


def test_update_takes_the_newest_version_and_says_when_there_is_one(
    history: History, project_from: ProjectFrom
) -> None:
    project = project_from(history.current, ANSWERS)
    run([*COPIER, "check-update", "--quiet"], project, exit_code=2)
    run([*COPIER, "update", "--defaults"], project)
    assert f"_commit: {NEXT}\n" in (project / ".copier-answers.yml").read_text(encoding="utf-8")
    run([*COPIER, "check-update", "--quiet"], project)


@pytest.fixture
def disagreeing(project_from: ProjectFrom) -> Path:
    """Give a project that has changed a line that the template has changed too."""
    project = project_from(PREVIOUS, ANSWERS)
    replace(project / ".github/workflows/ci.yml", "timeout-minutes: 10", "timeout-minutes: 99")
    commit(project, "Our timeout")
    return project


def test_conflict_is_visible_and_loses_nothing(history: History, disagreeing: Path) -> None:
    update(disagreeing, history.current)
    workflow = ".github/workflows/ci.yml"
    text = (disagreeing / workflow).read_text(encoding="utf-8")
    ours, theirs = text.partition("=======\n")[::2]
    assert "<<<<<<< before updating\n    timeout-minutes: 99\n" in ours
    assert theirs.startswith(f"    {TIMEOUT}\n>>>>>>> after updating\n")
    assert git(disagreeing, "diff", "--name-only", "--diff-filter=U").split() == [workflow]


def test_update_can_be_taken_back(history: History, disagreeing: Path) -> None:
    before = files(disagreeing)
    update(disagreeing, history.current)
    commands = (disagreeing / "docs/updating.md").read_text(encoding="utf-8")
    back = commands.partition("## Go back")[2].partition("```sh\n")[2].partition("```")[0]
    run(["sh", "-ec", back], disagreeing)
    assert files(disagreeing) == before
    assert git(disagreeing, "status", "--porcelain") == ""


def test_update_of_uncommitted_work_is_refused(history: History, project_from: ProjectFrom) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    replace(project / "README.md", r"\Z", "Not committed.\n")
    before = files(project)
    said = run(
        [*COPIER, "update", "--defaults", f"--vcs-ref={history.current}"], project, exit_code=1
    )
    assert "dirty" in said
    assert files(project) == before
