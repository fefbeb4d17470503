"""The releases of the template: `python -m hooks.releases`.

The commit that changes `version` in `pyproject.toml` is the release; the tag comes later, and a
checkout may not have it. 0.0.0 is the time before the first.
"""

import argparse
import sys
from pathlib import Path, PurePath

from hooks.check_template import ROOT, TEMPLATE, moved_files, rendered_path, template_files
from template_update.errors import UpdateError
from template_update.git import Repository
from template_update.releases import Release, notes, releases


def lost_files(root: Path, release: Release) -> set[str]:
    """Return the files that a release rendered, and that neither are here nor have a move.

    An update would delete them, with all that projects have changed in them.
    """
    listing = ["ls-tree", "-r", "--name-only", release.commit, f"{TEMPLATE}/"]
    files = Repository(root).names(*listing)
    before = {rendered_path(PurePath(it).relative_to(TEMPLATE)) for it in files}
    now = {rendered_path(path) for path in template_files(root)}
    return before - now - moved_files(root)


def main(arguments: list[str] | None = None) -> int:
    """Print what was asked for, and return the exit code."""
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
