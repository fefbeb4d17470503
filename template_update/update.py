"""The update, step by step.

1. Clone the template, and find the project's version and the new one.
2. Render both with the project's answers, and bring both into the project's shape: the name of its
   package, the release's new names, its formatter.
3. In a work tree of its own, apply the new names to the project, and let git merge the difference
   between the renders.
4. Report. Then leave the result as a branch, or, with conflicts, as that work tree.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from packaging.version import Version

from template_update.codemods import folder as codemods
from template_update.codemods.registry import Renames, between
from template_update.errors import UpdateError
from template_update.formatting import Formatter
from template_update.git import Repository
from template_update.merging import Merged, commit_folder, merge
from template_update.names import Names, removed_members, uses_of_members
from template_update.package import Package, find_package, rename_package
from template_update.project import ANSWERS_FILE, Project
from template_update.releases import upgrading
from template_update.rendering import (
    initial_migration,
    new_questions,
    read_answers,
    remove_what_no_update_brings,
    render,
)
from template_update.report import Report
from template_update.source import Source

# An update cannot change these: files would have to move, or things outside the project change.
FIXED_ANSWERS: Final = {
    "repo_layout": "docs/updating.md shows how to move the files with git",
    "project_slug": "the database and the deployment have that name",
}


@dataclass(frozen=True)
class Request:
    """What was asked for: versions as people write them, and answers that change."""

    to: str | None = None
    origin: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Versions:
    """The commits of the template between which a project is updated."""

    before: str
    after: str


class Update:
    """An update that has been merged in a work tree, and not yet kept."""

    def __init__(self, project: Project, worktree: Repository, report: Report, branch: str) -> None:
        self.report = report
        self.branch = branch
        self._project = project
        self._worktree = worktree

    @property
    def backend(self) -> Path:
        """The backend's folder in the work tree."""
        return self._worktree.path / self._project.backend

    @property
    def has_conflicts(self) -> bool:
        """Whether a person must resolve something."""
        return bool(self.report.merged.conflicts)

    def keep(self) -> None:
        """Keep the result as a branch. With conflicts, it is checked out and not committed."""
        self._worktree.git("switch", "--quiet", "--create", self.branch)
        if not self.has_conflicts:
            self.commit_all(f"Update the template from {self.report.before} to {self.report.after}")

    def move_beside_the_project(self) -> Path:
        """Move the work tree to a lasting place beside the project, and return that."""
        target = conflict_folder(self._project, self.branch)
        self._project.repository.git("worktree", "move", str(self._worktree.path), str(target))
        self._worktree = Repository(target)
        return target

    def remove_work_tree(self) -> None:
        """Remove the work tree; the branch stays."""
        path = str(self._worktree.path)
        self._project.repository.git("worktree", "remove", "--force", path)

    def commit_all(self, message: str) -> None:
        """Commit what has changed in the work tree, if anything."""
        if self._worktree.git("status", "--porcelain"):
            self._worktree.git("add", "--all")
            self._worktree.git("commit", "--quiet", "--no-verify", "--message", message)


@contextmanager
def prepared(project: Project, request: Request) -> Iterator[Update | None]:
    """Prepare an update in a temporary work tree, or give None if there is nothing newer.

    Raises `UpdateError` if the update cannot be done. Nothing of the project changes.
    """
    with TemporaryDirectory(prefix="template-update-") as name:
        folder = Path(name).resolve()
        source = Source.open(project.source, project.path, folder / "template")
        versions = find_versions(project, source, request)
        if versions is None:
            yield None
            return
        branch = f"template/{source.version(versions.after)}"
        check_branch(project, branch)
        with detached_worktree(project.repository, folder / "project") as worktree:
            yield _merge(project, source, versions, request, folder, worktree, branch)


def find_versions(project: Project, source: Source, request: Request) -> Versions | None:
    """Return the versions to update between, or None if there is nothing to do."""
    before = source.commit(request.origin or project.version)
    after = source.commit(request.to) if request.to else source.releases[-1].commit
    old, new = source.version(before), source.version(after)
    if Version(new) < Version(old):
        if request.to:
            raise UpdateError(f"The project has {source.name(before)}, which is newer than {new}.")
        after = before
    if before == after and not request.data:
        return None
    unknown = request.data.keys() - source.config(after).keys()
    if unknown:
        raise UpdateError(f"Version {new} has no question {', '.join(sorted(unknown))}.")
    for question, reason in FIXED_ANSWERS.items():
        answer = request.data.get(question, project.answers.get(question))
        if answer != project.answers.get(question):
            raise UpdateError(f"An update cannot change {question}: {reason}.")
    return Versions(before, after)


def check_branch(project: Project, branch: str) -> None:
    """Refuse to update while an earlier update is not finished. Raises `UpdateError`."""
    project.repository.git("worktree", "prune")
    folder = conflict_folder(project, branch)
    if folder.exists():
        raise UpdateError(
            f"An earlier update is in {folder}: finish it there, or give it up with "
            f'git worktree remove --force "{folder}" && git branch -D {branch}'
        )
    if project.repository.succeeds("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"):
        raise UpdateError(
            f"The branch {branch} of an earlier update exists: merge it with git merge {branch}, "
            f"or give it up with git branch -D {branch}"
        )


def conflict_folder(project: Project, branch: str) -> Path:
    """Return where the work tree of an update with conflicts is: beside the project."""
    root = project.repository.path
    return root.with_name(f"{root.name}-{branch.replace('/', '-')}")


@contextmanager
def detached_worktree(repository: Repository, folder: Path) -> Iterator[Repository]:
    """Give a work tree of HEAD, on no branch; it is removed unless it was moved elsewhere."""
    try:
        repository.git("worktree", "add", "--quiet", "--detach", str(folder))
        yield Repository(folder)
    finally:
        # Twice --force, because git locks a work tree that it has not finished.
        repository.succeeds("worktree", "remove", "--force", "--force", str(folder))
        shutil.rmtree(folder, ignore_errors=True)
        repository.git("worktree", "prune")


def _merge(
    project: Project,
    source: Source,
    versions: Versions,
    request: Request,
    folder: Path,
    worktree: Repository,
    branch: str,
) -> Update:
    config = source.config(versions.after)
    # Below the same path as in the repository, so that git finds the files where the project is.
    old, new = folder / "before" / project.folder, folder / "after" / project.folder
    render(source, versions.before, project.answers, old)
    render(source, versions.after, {**project.answers, **request.data}, new)
    answers = read_answers(new)
    part = Path("backend" if answers.get("repo_layout") == "monorepo" else "")
    needs_migration = initial_migration(old / part) != initial_migration(new / part)
    for render_folder in (old, new):
        remove_what_no_update_brings(render_folder, config, answers)
    # What the project's file says is what the update changes, whoever wrote it.
    shutil.copyfile(worktree.path / project.folder / ANSWERS_FILE, old / ANSWERS_FILE)

    backend = worktree.path / project.backend
    package = find_package(_below(project.files(), project.backend), _files(old / part))
    for render_folder in (old, new):
        rename_package(render_folder / part, package, backend)
    names_before = Names(backend, package).missing()
    renamed: set[Path] = set()
    descriptions: list[str] = []
    for renames in between(source.version(versions.before), source.version(versions.after)):
        codemods.apply(renames, old / part, package)
        if files := codemods.apply(renames, backend, package):
            renamed.update(files)
            descriptions += renames.descriptions()
    formatter = Formatter.of(backend)
    formatter.format(backend, sorted(it for it in renamed if it.suffix == ".py"))
    if worktree.git("status", "--porcelain"):
        worktree.git("add", "--all")
        message = f"Take the names of the template {source.name(versions.after)}"
        worktree.git("commit", "--quiet", "--no-verify", "--message", message)

    rendered = commit_folder(worktree, folder / "before", folder / "index-rendered", "Rendered")
    moved = moved_modules(worktree, rendered, project.backend, package)
    for render_folder in (old, new):
        codemods.apply(moved, render_folder / part, package)
    formatter.format_like(backend, old / part, new / part)
    start = worktree.git("rev-parse", "HEAD")
    label = f"Template {source.name(versions.after)}"
    base = commit_folder(worktree, folder / "before", folder / "index-before", "Before")
    changed = commit_folder(worktree, folder / "after", folder / "index-after", label, base)
    merged = merge(worktree, changed)
    _format_combined(worktree, formatter, backend, merged)

    report = Report(source.name(versions.before), source.name(versions.after))
    report.upgrading = _upgrading(source, versions)
    report.questions = new_questions(source.config(versions.before), config, answers)
    report.changed_answers = {
        name: (project.answers.get(name), answers[name])
        for name in request.data
        if name in answers and name not in report.questions
    }
    report.files = worktree.git("diff", "--stat=100", "HEAD").splitlines()
    report.moved = _moved(worktree, rendered, start, base, changed)
    report.renamed_names = descriptions
    report.merged = merged
    report.needs_migration = needs_migration
    report.missing = sorted(
        (it for it in Names(backend, package).missing() - names_before), key=str
    )
    own = _below(worktree.names("diff", "--name-only", base, start), project.backend)
    members = removed_members(old / part, new / part, package)
    report.members = uses_of_members(backend, own, members)
    return Update(project, worktree, report, branch)


def moved_modules(worktree: Repository, rendered: str, prefix: str, package: Package) -> Renames:
    """Return the modules of the package that the project has moved, by their old names.

    rendered: the commit of the old render. prefix: the backend's folder.
    """
    modules = {
        package.module(old.removeprefix(prefix)): package.module(new.removeprefix(prefix))
        for old, new in renamed_files(worktree, rendered, "HEAD")
    }
    return Renames({old: new for old, new in modules.items() if old and new and old != new})


def renamed_files(worktree: Repository, before: str, after: str) -> list[tuple[str, str]]:
    """Return the files that git finds renamed between two commits."""
    entries = worktree.names("diff", "--name-status", "--diff-filter=R", "-M", before, after)
    return list(zip(entries[1::3], entries[2::3], strict=True))


def _format_combined(
    worktree: Repository, formatter: Formatter, backend: Path, merged: Merged
) -> None:
    """Format the files in which both sides' additions were kept: imports may need sorting."""
    files = [worktree.path / name for name in merged.combined if name.endswith(".py")]
    inside = [file for file in files if file.is_relative_to(backend)]
    formatter.format(backend, inside)
    for file in inside:
        worktree.git("add", "--", str(file))


def _upgrading(source: Source, versions: Versions) -> dict[str, str]:
    """Return the *Upgrading* texts of the versions after the old one, the oldest first."""
    changelog = source.read(versions.after, "CHANGELOG.md")
    old, new = Version(source.version(versions.before)), Version(source.version(versions.after))
    between = [it.version for it in source.releases if old < Version(it.version) <= new]
    texts = {version: upgrading(changelog, version) for version in between}
    return {version: text for version, text in texts.items() if text}


def _moved(
    worktree: Repository, rendered: str, start: str, base: str, changed: str
) -> dict[str, str]:
    """Return the files that the project moved and the template changed."""
    touched = set(worktree.names("diff", "--name-only", "--no-renames", base, changed))
    moved = renamed_files(worktree, rendered, start)
    return {old: new for old, new in moved if not touched.isdisjoint((old, new))}


def _below(names: list[str], folder: str) -> list[str]:
    return [name.removeprefix(folder) for name in names if name.startswith(folder)]


def _files(folder: Path) -> list[str]:
    return [it.relative_to(folder).as_posix() for it in folder.rglob("*") if it.is_file()]
