"""Releases: found in the history regardless of tags, and described by notes."""

from pathlib import Path

import pytest

from scripts.check_template import ROOT, TEMPLATE
from scripts.releases import lost_files, main
from template_update.errors import UpdateError
from template_update.releases import UNRELEASED, Release, notes, releases, version_in
from tests.support.commands import commit, git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a history of six commits with two releases. A revert is between them."""
    repository = tmp_path / "repository"
    (repository / TEMPLATE).mkdir(parents=True)
    git(repository, "init", "--quiet")
    (repository / "copier.yml").write_text("_migrations: []\n")
    (repository / TEMPLATE / "a.txt.jinja").touch()
    versions = (("0.0.0", 1), ("0.1.0", 1), ("0.1.0", 2), ("0.0.0", 2), ("0.1.0", 2), ("0.2.0", 2))
    for version, ruff in versions:
        (repository / "pyproject.toml").write_text(
            f'[project]\nname = "x"\nversion = "{version}"\n[tool.ruff]\nline-length = {ruff}\n'
        )
        commit(repository, f"{version} {ruff}")
    return repository


def test_commits_that_raise_the_version_are_the_releases(repository: Path) -> None:
    commits = git(repository, "log", "--reverse", "--format=%H").split()
    assert releases(repository) == [Release("0.1.0", commits[1]), Release("0.2.0", commits[5])]


def test_release_is_reported_at_its_own_commit_only(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scripts.releases.ROOT", repository)
    assert main(["--head"]) == 0
    assert capsys.readouterr().out == "0.2.0\n"
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "Later")
    assert main(["--head"]) == 0
    assert capsys.readouterr().out == ""


def test_file_that_was_removed_without_a_move_is_found(repository: Path) -> None:
    newest = releases(repository)[-1]
    assert lost_files(repository, newest) == set()
    (repository / TEMPLATE / "a.txt.jinja").rename(repository / TEMPLATE / "b.txt.jinja")
    assert lost_files(repository, newest) == {"a.txt"}
    (repository / "copier.yml").write_text(
        "_migrations: [{command: [python, move, a.txt, b.txt]}]\n"
    )
    assert lost_files(repository, newest) == set()


def test_no_file_of_the_newest_release_is_lost() -> None:
    for newest in releases(ROOT)[-1:]:
        assert lost_files(ROOT, newest) == set(), "an update would delete what projects changed"


def test_error_for_a_shallow_clone_names_the_remedy(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", repository.as_uri(), tmp_path / "shallow")
    with pytest.raises(UpdateError, match="git fetch --unshallow"):
        releases(tmp_path / "shallow")


def test_released_version_has_upgrading_notes() -> None:
    version = version_in((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    section = notes(changelog, "Unreleased" if version == UNRELEASED else version)
    assert "### Upgrading" in section
    with pytest.raises(LookupError, match="no section"):
        notes(changelog, "9999.0.0")
