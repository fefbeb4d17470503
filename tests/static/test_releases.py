"""Releases: found in the history, with notes, whatever tags there are."""

from pathlib import Path

import pytest

from hooks.check_template import ROOT
from hooks.releases import UNRELEASED, Release, main, notes, releases, version_in
from tests.commands import commit, git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Give a history of four commits, two of which are releases."""
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet")
    for version, ruff in (("0.0.0", 1), ("0.1.0", 1), ("0.1.0", 2), ("0.2.0", 2)):
        (repository / "pyproject.toml").write_text(
            f'[project]\nname = "x"\nversion = "{version}"\n[tool.ruff]\nline-length = {ruff}\n'
        )
        commit(repository, f"{version} {ruff}")
    return repository


def test_commits_that_change_the_version_are_the_releases(repository: Path) -> None:
    commits = git(repository, "log", "--reverse", "--format=%H").split()
    assert releases(repository) == [Release("0.1.0", commits[1]), Release("0.2.0", commits[3])]


def test_newest_release_is_told_until_it_has_its_tag(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hooks.releases.ROOT", repository)
    head = git(repository, "rev-parse", "HEAD")
    assert main(["--untagged"]) == 0
    assert capsys.readouterr().out == f"0.2.0 {head}"
    git(repository, "tag", "v0.2.0")
    assert main(["--untagged"]) == 0
    assert capsys.readouterr().out == ""


def test_shallow_clone_says_what_to_do(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", tmp_path / "shallow")
    with pytest.raises(SystemExit, match="git fetch --unshallow"):
        releases(tmp_path / "shallow")


def test_released_version_has_notes_with_what_to_do() -> None:
    version = version_in((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    section = notes(changelog, "Unreleased" if version == UNRELEASED else version)
    assert "### Upgrading" in section
    with pytest.raises(LookupError, match="no section"):
        notes(changelog, "9999.0.0")
