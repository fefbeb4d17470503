"""The command `template-update`: its result, its report, and the cases that it rejects."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.check_template import ROOT
from scripts.projects import project_environment, python_answer
from template_update.releases import releases
from tests.support.commands import COPIER, commit, git, run
from tests.support.rendering import data, files
from tests.support.variants import Answers, columns
from tests.update.history import FEATURES, NEXT, PREVIOUS, History, ProjectFrom, origins, replace
from tests.update.own_work import OWN_FILES, OWN_TEXT, add_own_file
from tests.update.test_update import ANSWERS, MIGRATIONS, brought, fresh
from tests.update.updating import template_update

BRANCH = f"template/{FEATURES.removeprefix('v')}"
TO = f"--to={FEATURES}"


def state(project: Path) -> tuple[dict[str, bytes], str, str, str]:
    """Return everything that a rejected or interrupted update must not change."""
    return (
        files(project),
        git(project, "status", "--porcelain"),
        git(project, "for-each-ref"),
        git(project, "worktree", "list").splitlines()[0],
    )


def rejected(project: Path, *arguments: str) -> str:
    """Run an update that is rejected, and return the one line with the reason."""
    before = state(project)
    output = template_update(project, *arguments, exit_code=1)
    assert state(project) == before
    assert output.startswith("template-update: ")
    assert output.count("\n") == 1
    return output


# Result


@pytest.mark.parametrize("origin", origins())
@pytest.mark.parametrize("layout", columns()["repo_layout"])
def test_update_converges_to_a_fresh_render(
    history: History, project_from: ProjectFrom, tmp_path: Path, origin: str, layout: str
) -> None:
    answers = {**ANSWERS, "repo_layout": layout}
    project = project_from(origin, answers)
    before = files(project)
    template_update(project, TO)
    assert files(project) == before
    assert git(project, "status", "--porcelain") == ""
    git(project, "merge", "--quiet", BRANCH)
    new = fresh(history, FEATURES, answers, tmp_path / "fresh")
    assert brought(files(project)) == brought(new)
    assert [it for it in files(project) if MIGRATIONS in it] == [
        it for it in before if MIGRATIONS in it
    ]


def test_both_update_commands_can_alternate(
    history: History, project_from: ProjectFrom, tmp_path: Path
) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    template_update(project, f"--to={history.current}")
    (branch,) = git(project, "branch", "--format=%(refname:short)", "--list", "template/*").split()
    git(project, "merge", "--quiet", branch)
    run([*COPIER, "update", "--defaults", "--quiet", f"--vcs-ref={FEATURES}"], project)
    commit(project, "Update by Copier")
    assert brought(files(project)) == brought(fresh(history, FEATURES, ANSWERS, tmp_path / "new"))
    template_update(project, f"--to={NEXT}")
    git(project, "merge", "--quiet", f"template/{NEXT.removeprefix('v')}")
    assert brought(files(project)) == brought(fresh(history, NEXT, ANSWERS, tmp_path / "next"))


def test_update_applies_the_newest_version_and_then_does_nothing(project_from: ProjectFrom) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    template_update(project)
    git(project, "merge", "--quiet", f"template/{NEXT.removeprefix('v')}")
    before = state(project)
    assert "has the newest version" in template_update(project)
    assert state(project) == before


def test_project_newer_than_the_newest_release_is_not_downgraded(tmp_path: Path) -> None:
    source = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", "--no-tags", ROOT, source)
    (source / "template/{{ backend_dir }}/docs/later.md").write_text("Later.\n")
    commit(source, "After the newest release")
    project = tmp_path / "project"
    run([*COPIER, "copy", "--defaults", "--quiet", "--vcs-ref=HEAD", source, project], tmp_path)
    git(project, "init", "--quiet")
    commit(project, "Start")
    before = state(project)
    output = template_update(project)
    assert f"has the newest version, {releases(ROOT)[-1].version} and " in output
    assert state(project) == before


def test_changed_and_new_answers_are_reported(
    history: History, project_from: ProjectFrom, tmp_path: Path
) -> None:
    project = project_from(PREVIOUS, ANSWERS)  # it does not ask for frontend_origin
    changed = {"deploy_target": "docker", "frontend_origin": "https://shop.example.com"}
    output = template_update(project, TO, *data(changed))
    assert "`frontend_origin`: `https://shop.example.com`" in output
    assert "`deploy_target`: `railway` becomes `docker`" in output
    git(project, "merge", "--quiet", BRANCH)
    new = fresh(history, FEATURES, {**ANSWERS, **changed}, tmp_path / "fresh")
    assert brought(files(project)) == brought(new)


def test_answer_changes_without_a_newer_version(project_from: ProjectFrom) -> None:
    project = project_from(NEXT, ANSWERS)
    template_update(project, *data({"deploy_target": "fly"}))
    git(project, "merge", "--quiet", f"template/{NEXT.removeprefix('v')}")
    assert (project / "fly.toml").exists()


def test_project_in_a_folder_of_a_repository_is_updated_there(
    history: History, tmp_path: Path
) -> None:
    repository = tmp_path / "repository with a space"
    project = repository / "services/shop"
    repository.mkdir()
    command = [*COPIER, "copy", "--defaults", "--quiet", f"--vcs-ref={PREVIOUS}"]
    run([*command, history.repository, project], tmp_path)
    git(repository, "init", "--quiet")
    commit(repository, "Start")
    template_update(project / "app", TO)
    git(repository, "merge", "--quiet", BRANCH)
    assert (project / "app/models/announcement.py").exists()
    assert not (repository / "app").exists()


# Preview


def test_preview_reports_everything_and_changes_nothing(project_from: ProjectFrom) -> None:
    project = project_from("v0.1.0", ANSWERS)
    (project / "docs/operations.md").unlink()
    git(project, "mv", "app/core/logging.py", "app/core/logs.py")
    for file in [*project.glob("app/**/*.py"), *project.glob("tests/**/*.py")]:
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("app.core.logging", "app.core.logs"), encoding="utf-8")
    (project / "app/own.py").write_text("from app.services.sessions.grant import add_token\n")
    replace(project / "app/db/base.py", r"\A.*\n", '"""Ours."""\n')
    commit(project, "Our work")
    before = state(project)
    output = template_update(project, "--preview", TO, "--report=../report.md", exit_code=0)
    assert state(project) == before
    assert "## Upgrading to 0.2.0" in output
    assert "mark them as `slow`" in output
    assert "`app/own.py:1: app.services.sessions.creation.add_token`" in output
    assert "- `docs/operations.md`" in output.partition("you deleted")[2]
    assert "`app/core/logging.py` to `app/core/logs.py`" in output
    assert "## Migration" in output
    assert "app/models/announcement.py" in output.partition("## Files that change")[2]
    assert output.startswith((project.parent / "report.md").read_text(encoding="utf-8"))


# Conflicts


def test_names_of_a_module_in_conflict_are_not_reported_as_missing(
    project_from: ProjectFrom,
) -> None:
    project = project_from("v0.1.0", ANSWERS)
    replace(project / "app/db/session.py", r"\A.*\n", '"""Ours."""\n')
    commit(project, "Our work")
    output = template_update(project, "--preview", TO, exit_code=3)
    assert "- `app/db/session.py`" in output.partition("## Conflicts")[2]
    assert "app.db.session.Database`" not in output


def test_conflict_is_left_to_resolve_in_a_second_work_tree(disagreeing: Path) -> None:
    before = files(disagreeing)
    output = template_update(disagreeing, TO, exit_code=3)
    assert "- `.github/workflows/ci.yml`" in output.partition("## Conflicts")[2]
    assert files(disagreeing) == before
    second = disagreeing.with_name(f"{disagreeing.name}-{BRANCH.replace('/', '-')}")
    assert str(second) in output
    unmerged = git(second, "diff", "--name-only", "--diff-filter=U").split()
    assert unmerged == [".github/workflows/ci.yml"]
    text = (second / unmerged[0]).read_text(encoding="utf-8")
    assert "timeout-minutes: 99\n=======\n    timeout-minutes: 15\n" in text

    assert "An earlier update" in rejected(disagreeing, TO)
    replace(second / unmerged[0], r"(?s)<<<<<<<[^\n]*\n(.*?)=======.*?>>>>>>>[^\n]*\n", r"\1")
    git(second, "add", "--all")
    git(second, "commit", "--quiet", "--message", "Update")
    git(disagreeing, "worktree", "remove", str(second))
    git(disagreeing, "merge", "--quiet", BRANCH)
    assert "timeout-minutes: 99" in (disagreeing / unmerged[0]).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OWN_FILES)
def test_file_that_the_project_already_has_keeps_its_content(
    project_from: ProjectFrom, name: str
) -> None:
    project = add_own_file(project_from(PREVIOUS, ANSWERS), name)
    output = template_update(project, TO)
    assert f"- `{name}`" in output.partition("## Files that you already had")[2]
    git(project, "merge", "--quiet", BRANCH)
    assert (project / name).read_text(encoding="utf-8") == OWN_TEXT
    assert (project / "CLAUDE.md").exists()


def test_preview_reports_conflicts_by_its_exit_code(disagreeing: Path) -> None:
    before = state(disagreeing)
    template_update(disagreeing, TO, "--preview", exit_code=3)
    assert state(disagreeing) == before


def test_branch_of_an_earlier_update_is_not_replaced(project_from: ProjectFrom) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    template_update(project, TO)
    assert f"git branch -D {BRANCH}" in rejected(project, TO)
    git(project, "branch", "-D", BRANCH)
    template_update(project, TO)


def test_merged_branch_of_an_earlier_update_is_replaced(project_from: ProjectFrom) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    template_update(project, TO)
    git(project, "merge", "--quiet", BRANCH)
    template_update(project, TO, "--data=deploy_target=docker")
    git(project, "merge", "--quiet", BRANCH)
    assert (project / "compose.production.yml").exists()


def test_conflict_is_left_next_to_a_project_on_another_file_system(
    disagreeing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/dev/shm")  # noqa: S108
    template_update(disagreeing, TO, exit_code=3)
    second = disagreeing.with_name(f"{disagreeing.name}-{BRANCH.replace('/', '-')}")
    unmerged = git(second, "diff", "--name-only", "--diff-filter=U").split()
    assert unmerged == [".github/workflows/ci.yml"]
    git(disagreeing, "worktree", "remove", "--force", str(second))


def test_git_settings_do_not_change_the_report(
    project_from: ProjectFrom, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_from("v0.1.0", ANSWERS)
    settings = {"color.ui": "always", "column.ui": "always", "log.showSignature": "true"}
    count = int(os.environ["GIT_CONFIG_COUNT"])
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(count + len(settings)))
    for number, (name, value) in enumerate(settings.items(), count):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    output = template_update(project, "--to=0.2.0", "--preview")
    assert output.startswith("# Update of the template from 0.1.0 to 0.2.0\n")
    assert "\x1b" not in output


def test_report_can_be_printed_in_any_encoding(
    project_from: ProjectFrom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    template_update(project_from("v0.1.0", ANSWERS), "--to=0.2.0", "--preview")


# Rejected cases


def test_unknown_author_is_rejected(
    project_from: ProjectFrom, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    git(project, "config", "user.useConfigOnly", "true")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{role}_NAME", raising=False)
        monkeypatch.delenv(f"GIT_{role}_EMAIL", raising=False)
    assert "git config user.name NAME" in rejected(project, TO)


def test_conflicting_branch_is_reported(project_from: ProjectFrom) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    git(project, "branch", "template")
    assert "git branch -m template NEW-NAME" in rejected(project, TO)
    git(project, "branch", "-D", "template")
    git(project, "switch", "--quiet", "--create", BRANCH)
    assert "switch to your own branch" in rejected(project, TO)


def test_check_without_make_is_rejected(
    project_from: ProjectFrom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to(shutil.which("git") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    output = template_update(project, TO, "--check", exit_code=1)
    assert "--check runs make, which is not installed" in output


def test_files_for_another_package_manager_are_accepted(
    project_from: ProjectFrom,
) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    (project / "requirements.txt").write_text("# exported by uv\n")
    commit(project, "An export")
    template_update(project, TO, "--preview")


def test_uncommitted_changes_are_rejected(project_from: ProjectFrom) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    (project / "new.txt").touch()
    assert "commit or stash them first" in rejected(project)


@pytest.mark.parametrize(
    ("pattern", "new", "message"),
    [
        ("_src_path: .*", "_src_path: /nowhere/template", "set _src_path in .copier-answers.yml"),
        ("_src_path: .*", "_src_path: https://template.invalid/x.git", "set _src_path"),
        ("_commit: .*", "_commit: v0.77.0", "has no version v0.77.0"),
        ("_commit: .*", "_commit: 0123456789abcdef0123456789abcdef01234567", "--from 0.0.0"),
        ("_commit: .*\n", "", "has no _commit"),
        ("_src_path: .*\n", "", "has no _src_path"),
        (r"(?s)\A.*\Z", "{", "cannot be read"),
        (r"(?s)\A.*\Z", "- a list\n", "has no _src_path"),
        ("repo_layout: backend", "repo_layout: monorepo", "Set the answer back to backend"),
        ("package_manager: uv", "package_manager: poetry", "--data package_manager=poetry"),
        ("cookie_samesite: strict", "cookie_samesite: loose", "does not accept"),
    ],
)
def test_edited_answers_file_is_rejected(
    project_from: ProjectFrom, pattern: str, new: str, message: str
) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    replace(project / ".copier-answers.yml", pattern, new)
    commit(project, "An edit")
    assert message in rejected(project)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to=0.0.7"], "has no version 0.0.7"),
        (["--to=0.0.0"], "which is newer than 0.0.0"),
        (["--from=5.0.0"], "has no version 5.0.0"),
        (["--data=color=red"], "has no question color"),
        (["--data=repo_layout=monorepo"], "cannot change repo_layout"),
        (["--data=project_slug=other"], "cannot change project_slug"),
        (["--data=cookie_samesite=loose"], "does not accept"),
    ],
)
def test_invalid_arguments_are_rejected(
    history: History, project_from: ProjectFrom, arguments: list[str], message: str
) -> None:
    assert message in rejected(project_from(history.current, ANSWERS), *arguments)


def test_report_that_cannot_be_written_stops_the_update(project_from: ProjectFrom) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    before = state(project)
    output = template_update(project, TO, "--report=/nowhere/report.md", exit_code=1)
    assert "template-update: The report cannot be written to /nowhere/report.md" in output
    assert "Traceback" not in output
    assert state(project) == before


def test_source_with_another_history_requires_a_version(
    history: History, project_from: ProjectFrom, tmp_path: Path
) -> None:
    project = project_from("v0.1.0", ANSWERS)
    moved = tmp_path / "moved"
    git(tmp_path, "clone", "--quiet", history.repository, moved)
    answers = project / ".copier-answers.yml"
    replace(answers, "_src_path: .*", f"_src_path: {moved}")
    replace(answers, "_commit: .*", "_commit: fedcba9")
    commit(project, "The template has moved")
    assert "--from" in rejected(project)
    template_update(project, TO, "--from=0.1.0")
    git(project, "merge", "--quiet", BRANCH)
    assert f"_src_path: {moved}\n" in answers.read_text(encoding="utf-8")
    assert f"_commit: {FEATURES}\n" in answers.read_text(encoding="utf-8")


def test_folder_that_is_not_a_project_is_rejected(tmp_path: Path) -> None:
    assert "git init" in template_update(tmp_path, exit_code=1)
    git(tmp_path, "init", "--quiet")
    assert "no commit yet" in template_update(tmp_path, exit_code=1)
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "Start")
    assert "There is no .copier-answers.yml here" in template_update(tmp_path, exit_code=1)


def test_repository_that_is_not_a_template_is_rejected(
    project_from: ProjectFrom, tmp_path: Path
) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", other)
    git(other, "commit", "--quiet", "--allow-empty", "--message", "Start")
    replace(project / ".copier-answers.yml", "_src_path: .*", f"_src_path: {other}")
    commit(project, "Another address")
    assert "no release of this template" in rejected(project)


# Sources


def test_source_without_tags_is_identified_by_its_versions(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    git(tmp_path, "clone", "--quiet", "--no-tags", ROOT, mirror)
    start = releases(ROOT)[0].commit
    project = tmp_path / "project"
    command = [*COPIER, "copy", "--defaults", "--quiet", f"--vcs-ref={start}"]
    run([*command, mirror, project], tmp_path)
    git(project, "init", "--quiet")
    commit(project, "Start")
    output = template_update(project, "--to=0.2.0")
    assert "# Update of the template from 0.1.0 to 0.2.0" in output
    git(project, "merge", "--quiet", "template/0.2.0")
    # Copier still finds the version.
    run([*COPIER, "update", "--defaults", "--quiet", "--vcs-ref=HEAD"], project)
    assert git(project, "diff", "--name-only", "--diff-filter=U") == ""


@pytest.mark.parametrize("address", ["../template copy", "git+file://{}", "file://{}"])
def test_address_may_be_relative_or_a_url(
    history: History, project_from: ProjectFrom, address: str, tmp_path: Path
) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    git(tmp_path, "clone", "--quiet", history.repository, tmp_path / "template copy")
    address = address.format(history.repository)
    replace(project / ".copier-answers.yml", "_src_path: .*", f"_src_path: {address}")
    commit(project, "Another address")
    template_update(project, TO)


# Interruptions


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_update_leaves_the_project_as_it_was(
    project_from: ProjectFrom, kind: signal.Signals
) -> None:
    project = project_from(PREVIOUS, ANSWERS)
    before = state(project)
    process = subprocess.Popen(
        [sys.executable, "-m", "template_update.cli", TO],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # In a shell without job control, background processes ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # The work tree is created in the middle of the update.
    while len(git(project, "worktree", "list").splitlines()) == 1 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(kind)
    assert process.wait() != 0
    assert state(project) == before
    if kind != signal.SIGKILL:
        assert len(git(project, "worktree", "list").splitlines()) == 1
    template_update(project, TO)
    assert BRANCH in git(project, "branch")


# Check of the result


def test_update_with_check_writes_the_migration_and_checks_the_result(
    project_from: Callable[[str, Answers], Path],
) -> None:
    project = project_from("v0.1.0", {**ANSWERS, "python_version": python_answer()})
    environment = project_environment()
    run(["make", "install"], project, environment)
    commit(project, "Lock")
    environment |= {
        "PYTHONPATH": str(ROOT),
        "PYTEST_ADDOPTS": "-k migrations --ignore=tests/fuzz --no-cov -W 'ignore:Coverage'",
        "PYTEST_XDIST_AUTO_NUM_WORKERS": "0",
    }
    command = [sys.executable, "-m", "template_update.cli", TO, "--check"]
    output = run(command, project, environment)
    assert "$ make check" in output
    assert "make migration" not in output.partition("$ make check")[2]
    assert git(project, "status", "--porcelain") == ""
    brought_files = git(project, "diff", "--name-only", "HEAD", BRANCH).split()
    assert any(name.startswith("alembic/versions/") for name in brought_files)
    assert len(git(project, "worktree", "list").splitlines()) == 1
