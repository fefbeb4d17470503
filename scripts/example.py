"""Publish a project with the default answers in the branch `example` of a repository.

`python -m scripts.example ADDRESS` renders this clone, and pushes a commit if any file has changed.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

import yaml
from copier import Settings, run_copy

from scripts.check_template import ROOT
from template_update.git import GitError, Repository

BRANCH: Final = "example"
ANSWERS: Final = ".copier-answers.yml"
# GitHub does not let a workflow push other workflows.
LEFT_OUT: Final = ".github/workflows"


def publish(address: str, folder: Path) -> bool:
    """Push the rendered project, if it has changed, and return whether it has.

    folder: an empty folder for the work. Raise `GitError` if the repository cannot be used.
    """
    repository = check_out(address, folder)
    repository.git("rm", "-r", "--quiet", "--ignore-unmatch", ".")
    run_copy(
        str(ROOT),
        folder,
        vcs_ref="HEAD",
        settings=Settings(),
        exclude=[LEFT_OUT],
        defaults=True,
        overwrite=True,
        quiet=True,
    )
    version = replace_address(folder / ANSWERS, address)
    repository.git("add", "--all")
    # The answers contain the version, which each commit of the template changes.
    if repository.succeeds("diff", "--cached", "--quiet", "--", ".", f":!{ANSWERS}"):
        return False
    repository.git("commit", "--quiet", "--message", f"Render {version} with the default answers")
    repository.git("push", "--quiet", address, f"HEAD:refs/heads/{BRANCH}")
    return True


def check_out(address: str, folder: Path) -> Repository:
    """Return a work tree with the newest commit of the branch, or with none if it is new."""
    repository = Repository(folder)
    repository.git("init", "--quiet", "--initial-branch", BRANCH)
    if repository.git("ls-remote", address, f"refs/heads/{BRANCH}"):
        repository.git("fetch", "--quiet", "--depth=1", address, f"refs/heads/{BRANCH}")
        repository.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    return repository


def replace_address(answers: Path, address: str) -> str:
    """Write the address of the template without a password, and return the template's version."""
    public = re.sub(r"(?<=://)[^/@]+@", "", address)
    text = answers.read_text(encoding="utf-8")
    changed = re.sub(r"(?m)^_src_path: .*$", lambda _: f"_src_path: {public}", text)
    answers.write_text(changed, encoding="utf-8")
    return str(yaml.safe_load(text)["_commit"])


def main(arguments: list[str] | None = None) -> int:
    """Publish the project, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.example", description=__doc__)
    parser.add_argument("address", help="of the repository, in which the branch is created")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        try:
            changed = publish(asked.address, Path(folder))
        except GitError as error:
            sys.exit(str(error))
    print(f"The branch {BRANCH} {'has a new commit' if changed else 'is up to date'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
