"""Projects of teams with edits, updated from every release with both commands.

The new version adds a router, a model, a setting and an error to the work tree. The tests of some
teams run after an update from the oldest or the newest release. `make updates` runs the tests of
all teams, and writes `docs/updates.md`.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import pytest

from scripts.check_template import ROOT
from scripts.projects import project_environment, python_answer
from template_update.releases import releases
from tests.support.commands import COPIER, commit, git, run
from tests.support.rendering import backend
from tests.support.variants import Answers
from tests.update.history import FEATURES
from tests.update.profiles import PROFILES, own_lines
from tests.update.table import FOLDER, Outcome
from tests.update.updating import template_update

# all: run the tests of all teams. table: run only the usual ones. Both write the rows of the table.
UPDATES: Final = os.environ.get("TEMPLATE_UPDATES", "")
RELEASES: Final = [release.tag for release in releases(ROOT)]
# The teams whose tests run, for the oldest release and for the newest.
SUITES: Final = {
    RELEASES[0]: {"renamed-package", "moved-module", "own-resource", "monorepo", "all-of-it"},
    RELEASES[-1]: {"own-columns", "all-of-it"},
}
PYTHON: Final = {"python_version": python_answer()}


@pytest.mark.parametrize("origin", RELEASES)
@pytest.mark.parametrize("name", PROFILES)
def test_team_is_updated(
    project_from: Callable[[str, Answers], Path], python: Path, name: str, origin: str
) -> None:
    project = project_from(origin, {**PYTHON, **PROFILES[name].answers})
    PROFILES[name].change(project)
    if git(project, "status", "--porcelain"):
        commit(project, "Our work")
    git(project, "branch", "copier")
    own = own_lines(project)

    template_update(project, f"--to={FEATURES}")  # exits with 3 if there are conflicts
    git(project, "checkout", "--quiet", f"template/{FEATURES.removeprefix('v')}")
    assert [line for line in own if line not in own_lines(project)] == []
    assert [it for it in PROFILES[name].gone if (project / it).exists()] == []
    ours = Outcome(0, 0)
    if UPDATES == "all" or name in SUITES.get(origin, ()):
        assert suite(project, python) == ""
        ours.suite = "green"

    git(project, "clean", "--quiet", "--force", "-d")  # the migration
    git(project, "checkout", "--quiet", "--force", "copier")
    copier = update_by_copier(project)
    assert [line for line in own if line not in own_lines(project)] == []
    if UPDATES == "all" and not copier.files:
        copier.suite = "red" if suite(project, python) else "green"
    if UPDATES:
        FOLDER.mkdir(exist_ok=True)
        row = [name, origin, asdict(ours), asdict(copier)]
        (FOLDER / f"{name}-{origin}.json").write_text(json.dumps(row))


def update_by_copier(project: Path) -> Outcome:
    """Update a project with Copier, commit the result, and count its conflicts."""
    # The update passes a version that moves files, and therefore needs --trust.
    command = ["update", "--defaults", "--quiet", "--trust", f"--vcs-ref={FEATURES}"]
    run([*COPIER, *command], project)
    files = git(project, "diff", "--name-only", "--diff-filter=U").split()
    texts = [(project / name).read_text(encoding="utf-8") for name in files]
    hunks = sum(len(re.findall(r"^<<<<<<< ", text, re.MULTILINE)) for text in texts)
    commit(project, "Update by Copier")
    return Outcome(len(files), hunks)


def suite(project: Path, python: Path) -> str:
    """Write the migration that the update requires, and run the tests that are not slow.

    Return the output of the first command that fails, or an empty string.
    """
    part = backend(project)
    options = ["-q", "-m", "not slow", "--ignore=tests/fuzz", "-p", "no:cacheprovider"]
    for command in (
        ["-m", "shop" if (part / "shop").exists() else "app", "migrate"],
        ["-m", "alembic", "revision", "--autogenerate", "--message", "announcements"],
        ["-m", "pytest", *options],
    ):
        result = subprocess.run(
            [python, *command],
            cwd=part,
            env=project_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        if result.returncode:
            return result.stdout
    return ""
