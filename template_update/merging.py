"""Merging the difference between two renders into the project, with git."""

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
FILE_MODES: Final = {"100644", "100755"}
# Nothing else depends on the files in these folders, so a team may have replaced all of them.
EDITOR_FOLDERS: Final = {".devcontainer", ".vscode"}

# The mode and the blob of each stage of a conflicting path.
Stages = dict[str, tuple[str, str]]


@dataclass
class Merged:
    """The results of a merge, as lists of paths."""

    conflicts: list[str] = field(default_factory=list)
    # The project deleted these, and the template changed them: they stay deleted.
    kept_deleted: list[str] = field(default_factory=list)
    # The template deleted these, and the project changed them: they stay.
    kept_changed: list[str] = field(default_factory=list)
    # The project already had these, and the template adds its own: the project's stay.
    kept_own: list[str] = field(default_factory=list)
    # The project rewrote these pages, and the template changed them: they stay.
    kept_rewritten: list[str] = field(default_factory=list)
    # Both added lines at the same place, and both additions were kept.
    combined: list[str] = field(default_factory=list)


def commit_folder(
    repository: Repository, folder: Path, index: Path, message: str, parent: str | None = None
) -> str:
    """Store a folder as a commit without a branch, and return its hash.

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
    """Apply the changes of a commit to a work tree, without committing them."""
    try:
        options = ["--no-commit", "--allow-empty", "-X", "diff-algorithm=histogram"]
        worktree.git("cherry-pick", *options, new)
    except GitError:
        if not worktree.git("ls-files", "--unmerged"):
            raise
    merged = Merged()
    unmerged = _unmerged(worktree)
    for aside in [it for it in unmerged if _is_moved_aside(worktree, it, new)]:
        stages = unmerged.pop(aside)
        path = aside.rpartition("~")[0]
        if path in unmerged:
            # The path is a file on one side, and a symbolic link on the other.
            stages = unmerged.pop(path) | stages
            _bring_together(worktree, path, aside, stages)
            merged.conflicts.append(path)
        else:
            # The path is a folder on one side. Keep the folder, and the file where git moved it.
            merged.conflicts.append(aside)
    for path, stages in unmerged.items():
        if _is_own_file(worktree, path, stages, new):
            _keep_ours(worktree, path)
            merged.kept_own.append(path)
        else:
            _settle(worktree, path, stages, merged)
    merged.conflicts.sort()
    return merged


def _is_moved_aside(worktree: Repository, path: str, new: str) -> bool:
    """Return whether git invented a path, because the original path has two kinds of files."""
    return "~" in path and not any(
        worktree.succeeds("cat-file", "-e", f"{commit}:{path}") for commit in ("HEAD", new)
    )


def _bring_together(worktree: Repository, path: str, aside: str, stages: Stages) -> None:
    """Record all stages of a conflict under the path itself, and write our version there."""
    entries = [f"{mode} {blob} {stage}\t{path}\0" for stage, (mode, blob) in stages.items()]
    # Mode 0 removes the entries that git recorded.
    removed = [f"0 {'0' * 40}\t{name}\0" for name in (path, aside)]
    text = "".join([*removed, *entries]).encode("utf-8", "surrogateescape")
    worktree.raw("update-index", "-z", "--index-info", text=text)
    (worktree.path / aside).unlink(missing_ok=True)
    worktree.git("checkout", "--ours", "--", path)


def _settle(worktree: Repository, path: str, stages: Stages, merged: Merged) -> None:
    if BASE in stages and OURS not in stages:
        worktree.git("rm", "--quiet", "--force", "--ignore-unmatch", "--", path)
        merged.kept_deleted.append(path)
    elif BASE in stages and THEIRS not in stages:
        worktree.git("add", "--", path)
        merged.kept_changed.append(path)
    elif len(stages) == len((OURS, BASE, THEIRS)) and _are_files(stages):
        versions = [worktree.raw("cat-file", "blob", stages[it][1]) for it in (OURS, BASE, THEIRS)]
        if _is_replaceable(path) and hunks.is_rewritten(versions[1], versions[0]):
            _keep_ours(worktree, path)
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


def _is_own_file(worktree: Repository, path: str, stages: Stages, new: str) -> bool:
    """Return whether the project already had a file that the template adds.

    Return False if the template moved another file there, and git merged the project's changes of
    that file into the template's version.
    """
    if stages.keys() != {OURS, THEIRS} or not _is_replaceable(path) or not _are_files(stages):
        return False
    return stages[THEIRS][1] == worktree.git("rev-parse", f"{new}:{path}")


def _is_replaceable(path: str) -> bool:
    """Return whether a team may have its own file instead of the template's."""
    return path.endswith(".md") or not EDITOR_FOLDERS.isdisjoint(path.split("/"))


def _keep_ours(worktree: Repository, path: str) -> None:
    worktree.git("checkout", "--ours", "--", path)
    worktree.git("add", "--", path)


def _are_files(stages: Stages) -> bool:
    """Return whether all stages are regular files, not symbolic links or submodules."""
    return all(mode in FILE_MODES for mode, _ in stages.values())


def _unmerged(worktree: Repository) -> dict[str, Stages]:
    """Return the conflicting paths, with their stages."""
    found: dict[str, Stages] = {}
    for entry in worktree.names("ls-files", "--unmerged"):
        information, path = entry.split("\t", 1)
        mode, blob, stage = information.split(" ")
        found.setdefault(path, {})[stage] = (mode, blob)
    return found
