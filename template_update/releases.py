"""The releases of the template, as found in its history.

A release is a commit that raises `version` in `pyproject.toml`, or a tag such as `v1.2.3`. Both
count, because a clone or a mirror may lack the tags. If a version has both, the tag takes
precedence.
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
        """The name of its tag, which the repository may lack."""
        return f"v{self.version}"


def releases(root: Path) -> list[Release]:
    """Return the releases in the history of a repository, the oldest first.

    A commit that sets an older version again is not a release, and neither is one that then
    restores the newer version. Raise `UpdateError` if the clone is shallow.
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
            continue  # a file of another project, or of an unfinished commit
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
    """Return the version in the text of a `pyproject.toml`."""
    return str(tomllib.loads(pyproject)["project"]["version"])


def notes(changelog: str, version: str) -> str:
    """Return a version's section of a changelog. Raise `LookupError` if there is none."""
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
