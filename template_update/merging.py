"""The merge: git's own, of the difference between two renders into the project."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from template_update import hunks
from template_update.git import GitError, Repository

AUTHOR: Final = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "template-update"), ("EMAIL", "template-update@localhost"))
}
OURS, BASE, THEIRS = "2", "1", "3"


@dataclass
class Merged:
    """What a merge did, as paths."""

    conflicts: list[str] = field(default_factory=list)
    # The project deleted these, and the template changed them: they stay deleted.
    kept_deleted: list[str] = field(default_factory=list)
    # The template deleted these, and the project changed them: they stay.
    kept_changed: list[str] = field(default_factory=list)
    # The project rewrote these pages, and the template changed them: they stay.
    kept_rewritten: list[str] = field(default_factory=list)
    # Both added lines at the same place, and both additions were kept.
    combined: list[str] = field(default_factory=list)


def commit_folder(
    repository: Repository, folder: Path, index: Path, message: str, parent: str | None = None
) -> str:
    """Store a folder as a commit that no branch has, and return its hash.

    index: a path for git's index, which must not exist.
    """
    variables = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(folder), **AUTHOR}
    git_folder = repository.git("rev-parse", "--absolute-git-dir")
    inside = Repository(folder)
    variables["GIT_DIR"] = git_folder
    inside.git("add", "--all", "--force", ".", variables=variables)
    tree = inside.git("write-tree", variables=variables)
    parents = ["-p", parent] if parent else []
    return inside.git("commit-tree", tree, "-m", message, *parents, variables=variables)


def merge(worktree: Repository, new: str) -> Merged:
    """Bring what a commit changed to a work tree, without committing it."""
    try:
        options = ["--no-commit", "--allow-empty", "-X", "diff-algorithm=histogram"]
        worktree.git("cherry-pick", *options, new)
    except GitError:
        if not worktree.git("ls-files", "--unmerged"):
            raise
    merged = Merged()
    for path, stages in _unmerged(worktree).items():
        _settle(worktree, path, stages, merged)
    return merged


def _settle(worktree: Repository, path: str, stages: Mapping[str, str], merged: Merged) -> None:
    if BASE in stages and OURS not in stages:
        worktree.git("rm", "--quiet", "--force", "--ignore-unmatch", "--", path)
        merged.kept_deleted.append(path)
    elif BASE in stages and THEIRS not in stages:
        worktree.git("add", "--", path)
        merged.kept_changed.append(path)
    elif len(stages) == len((OURS, BASE, THEIRS)):
        versions = [worktree.raw("cat-file", "blob", stages[it]) for it in (OURS, BASE, THEIRS)]
        if path.endswith(".md") and hunks.is_rewritten(versions[1], versions[0]):
            worktree.git("checkout", "--ours", "--", path)
            worktree.git("add", "--", path)
            merged.kept_rewritten.append(path)
            return
        content = hunks.merge(path, *versions)
        if content is None:
            merged.conflicts.append(path)
            return
        (worktree.path / path).write_bytes(content)
        worktree.git("add", "--", path)
        merged.combined.append(path)
    else:
        merged.conflicts.append(path)


def _unmerged(worktree: Repository) -> dict[str, dict[str, str]]:
    """Return the paths in conflict, with the blob of each stage that there is."""
    found: dict[str, dict[str, str]] = {}
    for entry in worktree.names("ls-files", "--unmerged"):
        information, path = entry.split("\t", 1)
        _, blob, stage = information.split(" ")
        found.setdefault(path, {})[stage] = blob
    return found
