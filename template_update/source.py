"""The repository of the template."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from packaging.version import Version

from template_update.errors import UpdateError
from template_update.git import GitError, Repository
from template_update.releases import UNRELEASED, Release, releases, tagged_releases

SHORTHANDS: Final = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
ANSWERS_SETTING: Final = "_src_path"


@dataclass(frozen=True)
class Source:
    """A clone of the template's repository, and its releases, the oldest first."""

    address: str
    clone: Repository
    releases: list[Release]
    tags: frozenset[str]

    @classmethod
    def open(cls, address: str, project: Path, folder: Path) -> "Source":
        """Clone the template into a folder.

        address: as in the answers file: a Git URL, a folder (relative to the project), or
        `gh:OWNER/NAME`. Raise `UpdateError` if nothing can be cloned from there.
        """
        try:
            url = url_of(address, project)
            Repository(project).git("clone", "--quiet", "--", url, str(folder))
        except (GitError, RuntimeError) as error:  # RuntimeError: the home of an unknown user
            reason = (str(error).splitlines() or ["git clone failed"])[-1]
            raise UpdateError(
                f"The template cannot be read from {address} ({reason}). If it has moved, set "
                f"{ANSWERS_SETTING} in .copier-answers.yml to its address, and commit that."
            ) from error
        clone = Repository(folder)
        # Tags take precedence over the history. A mirror may lack some tags.
        found = {release.version: release for release in releases(folder)}
        found |= {release.version: release for release in tagged_releases(folder)}
        if not found:
            raise UpdateError(f"{address} has no release of this template: is it the right one?")
        ordered = sorted(found.values(), key=lambda release: Version(release.version))
        return cls(address, clone, ordered, frozenset(clone.git("tag", "--list").splitlines()))

    def commit(self, reference: str) -> str:
        """Return the commit of a version (with or without `v`), a tag, or a commit's hash.

        Raise `UpdateError` if the template has no such commit.
        """
        for release in self.releases:
            if reference.removeprefix("v") == release.version:
                return release.commit
        try:
            # This also accepts the output of `git describe`, such as v0.1.0-3-g1a2b3c4.
            return self.clone.git("rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}")
        except GitError as error:
            known = ", ".join(release.version for release in self.releases)
            raise UpdateError(
                f"The template at {self.address} has no version {reference}. If its history was "
                f"rewritten, or the address now holds another repository, name the version that "
                f"the project comes from, as in --from {self.releases[0].version}. It has {known}."
            ) from error

    def version(self, commit: str) -> str:
        """Return the version of a commit: its own release, or the newest one in its history."""
        for release in self.releases:
            if release.commit == commit:
                return release.version
        contained = [it for it in self.releases if self._contains(commit, it.commit)]
        return contained[-1].version if contained else UNRELEASED

    def is_newer(self, commit: str, other: str) -> bool:
        """Return whether a commit is newer than another one.

        Compare their versions first, and then the history: a project may come from a commit after
        the newest release.
        """
        versions = Version(self.version(commit)), Version(self.version(other))
        if versions[0] != versions[1]:
            return versions[0] > versions[1]
        return commit != other and self._contains(commit, other)

    def name(self, commit: str) -> str:
        """Return a commit's name for people: its version and the number of commits after it."""
        version = self.version(commit)
        start = next((it.commit for it in self.releases if it.version == version), None)
        count = self.clone.git("rev-list", "--count", f"{start}..{commit}" if start else commit)
        return version if count == "0" else f"{version} and {count} commit{'s' * (count != '1')}"

    def reference(self, commit: str) -> str:
        """Return the reference of a commit for the answers file, where Copier can find it again."""
        for release in self.releases:
            if release.commit == commit and release.tag in self.tags:
                return release.tag
        return self.clone.git("describe", "--tags", "--always", commit)

    def read(self, commit: str, path: str) -> str:
        """Return the text of a file of the template, or an empty string if there is none."""
        return (self.clone.blob(commit, path) or b"").decode("utf-8")

    def config(self, commit: str) -> dict[str, Any]:
        """Return the template's `copier.yml`."""
        return dict(yaml.safe_load(self.read(commit, "copier.yml")) or {})

    def _contains(self, commit: str, ancestor: str) -> bool:
        return self.clone.succeeds("merge-base", "--is-ancestor", ancestor, commit)


def url_of(address: str, project: Path) -> str:
    """Return the URL or path to clone for an address from an answers file."""
    for short, long in SHORTHANDS.items():
        if address.startswith(short):
            return long + address.removeprefix(short)
    address = address.removeprefix("git+")
    # Relative folders are relative to the project. A URL has a scheme, or a host and a colon. A
    # single letter before a colon is a Windows drive.
    if not re.match(r"[\w+.-]+://|[^/\\:]{2,}:", address):
        return str(project / Path(address).expanduser())
    return address
