"""The releases of the template: `python -m scripts.releases`.

A release is a commit that raises `version` in `pyproject.toml`. Its tag is created later, and a
checkout may not have it. Version 0.0.0 is the time before the first release.
"""

import argparse
import sys
from pathlib import Path, PurePath

from scripts.check_template import ROOT, TEMPLATE, moved_files, rendered_path, template_files
from template_update.errors import UpdateError
from template_update.git import Repository
from template_update.releases import Release, notes, releases


def lost_files(root: Path, release: Release) -> set[str]:
    """Return the files of a release that no longer exist and that no move mentions.

    An update would delete them, with the changes that projects have made to them.
    """
    listing = ["ls-tree", "-r", "--name-only", release.commit, f"{TEMPLATE}/"]
    files = Repository(root).names(*listing)
    before = {rendered_path(PurePath(it).relative_to(TEMPLATE)) for it in files}
    now = {rendered_path(path) for path in template_files(root)}
    return before - now - moved_files(root)


def main(arguments: list[str] | None = None) -> int:
    """Print the requested information, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.releases", description=__doc__)
    parser.add_argument("--head", action="store_true", help="only the release at HEAD, if any")
    parser.add_argument("--notes", metavar="VERSION", help="the changelog section of a version")
    asked = parser.parse_args(arguments)
    if asked.notes:
        try:
            print(notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), asked.notes), end="")
        except LookupError as error:
            sys.exit(str(error))
        return 0
    head = Repository(ROOT).git("rev-parse", "HEAD")
    try:
        found = releases(ROOT)
    except UpdateError as error:
        sys.exit(str(error))
    for release in found:
        if release.commit == head or not asked.head:
            print(release.version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
