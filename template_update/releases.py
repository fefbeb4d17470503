"""The releases of the template, found in its history.

A release is the commit that raises `version` in `pyproject.toml`, or a tag such as `v1.2.3`. A
clone or a mirror may lack the tags, so both count; where both exist, the tag decides.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.version import InvalidVersion, Version

from template_update.errors import UpdateError
from template_update.git import Repository

UNRELEASED: Final = "0.0.0"


@dataclass(frozen=True)
class Release:
    """A released version, such as 1.2.3, and its commit."""

    version: str
    commit: str

    @property
    def tag(self) -> str:
        """The tag that marks it, where the repository has tags."""
        return f"v{self.version}"


def releases(root: Path) -> list[Release]:
    """Return the releases that the history of a repository shows, the oldest first.

    A version that was taken back does not count, and neither does its return. Raises
    `UpdateError` if the clone is shallow.
    """
    repository = Repository(root)
    if repository.git("rev-parse", "--is-shallow-repository") == "true":
        raise UpdateError(
            f"The clone {root} is shallow and lacks the releases: run git fetch --unshallow there."
        )
    log = ["log", "--reverse", "--format=%H", "-G^version = ", "--", "pyproject.toml"]
    found: list[Release] = []
    newest = Version(UNRELEASED)
    for commit in repository.git(*log).splitlines():
        try:
            version = version_in(repository.git("show", f"{commit}:pyproject.toml"))
            is_newer = Version(version) > newest
        except (tomllib.TOMLDecodeError, KeyError, InvalidVersion):
            continue  # another repository's file, or one of an unfinished commit
        if is_newer:
            found.append(Release(version, commit))
            newest = Version(version)
    return found


def tagged_releases(root: Path) -> list[Release]:
    """Return the releases that have a tag, the oldest first. Pre-releases do not count."""
    repository = Repository(root)
    found = []
    for tag in repository.git("tag", "--list").splitlines():
        try:
            version = Version(tag)
        except InvalidVersion:
            continue
        if not version.is_prerelease:
            commit = repository.git("rev-parse", f"{tag}^{{commit}}")
            found.append((version, Release(tag.removeprefix("v"), commit)))
    return [release for _, release in sorted(found, key=lambda item: item[0])]


def version_in(pyproject: str) -> str:
    """Return the version that the text of a `pyproject.toml` names."""
    return str(tomllib.loads(pyproject)["project"]["version"])


def notes(changelog: str, version: str) -> str:
    """Return what a changelog says about a version. Raise `LookupError` if it says nothing."""
    section = re.search(
        rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## \[|^\[[^\]]+\]: |\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )
    if section is None or not section[1].strip():
        raise LookupError(f"CHANGELOG.md has no section [{version}]")
    return section[1].strip() + "\n"


def upgrading(changelog: str, version: str) -> str:
    """Return the *Upgrading* text of a version, or an empty string if there is none."""
    try:
        section = notes(changelog, version)
    except LookupError:
        return ""
    return section.partition("### Upgrading\n")[2].partition("\n### ")[0].strip()
