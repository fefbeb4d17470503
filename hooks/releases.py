"""The releases of the template, found in its history: `python -m hooks.releases`.

The commit that changes `version` in `pyproject.toml` is the release; the tag comes later, and a
checkout may not have it. 0.0.0 is the time before the first.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from packaging.version import Version

from hooks.check_template import ROOT, TEMPLATE, moved_files, rendered_path, template_files

UNRELEASED: Final = "0.0.0"


@dataclass(frozen=True)
class Release:
    """A released version, such as 1.2.3, and the commit that is it."""

    version: str
    commit: str

    @property
    def tag(self) -> str:
        """The tag that marks it."""
        return f"v{self.version}"


def releases(root: Path) -> list[Release]:
    """Give the releases in the history of a repository, the oldest first.

    A version that is taken back is none, and neither is its return. Raises `SystemExit` when only
    a part of the history is there.
    """
    if _git(root, "rev-parse", "--is-shallow-repository") == "true":
        sys.exit("The releases stand in the history; this clone has none: git fetch --unshallow")
    changes = _git(root, "log", "--reverse", "--format=%H", "-G^version = ", "--", "pyproject.toml")
    found: list[Release] = []
    newest = Version(UNRELEASED)
    for commit in changes.splitlines():
        version = version_in(_git(root, "show", f"{commit}:pyproject.toml"))
        if Version(version) > newest:
            found.append(Release(version, commit))
            newest = Version(version)
    return found


def lost_files(root: Path, release: Release) -> set[str]:
    """Give the files that a release rendered, and that neither stand here nor have a move.

    An update would delete them, with all that projects have changed in them.
    """
    files = _git(root, "ls-tree", "-r", "--name-only", "-z", release.commit, f"{TEMPLATE}/")
    before = {rendered_path(PurePath(it).relative_to(TEMPLATE)) for it in files.split("\0") if it}
    now = {rendered_path(path) for path in template_files(root)}
    return before - now - moved_files(root)


def version_in(pyproject: str) -> str:
    """Give the version that the text of a `pyproject.toml` names."""
    return str(tomllib.loads(pyproject)["project"]["version"])


def notes(changelog: str, version: str) -> str:
    """Give what a changelog says of a version. Raises `LookupError` when it says nothing."""
    section = re.search(
        rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## \[|^\[[^\]]+\]: |\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )
    if section is None or not section[1].strip():
        raise LookupError(f"CHANGELOG.md has no section [{version}]")
    return section[1].strip() + "\n"


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    ).stdout.strip()


def main(arguments: list[str] | None = None) -> int:
    """Print what is asked for; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hooks.releases", description=__doc__)
    parser.add_argument("--head", action="store_true", help="only the one that HEAD is, if any")
    parser.add_argument("--notes", metavar="VERSION", help="what the changelog says of a version")
    asked = parser.parse_args(arguments)
    if asked.notes:
        try:
            print(notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), asked.notes), end="")
        except LookupError as error:
            sys.exit(str(error))
        return 0
    head = _git(ROOT, "rev-parse", "HEAD")
    for release in releases(ROOT):
        if release.commit == head or not asked.head:
            print(release.version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
