"""The update, step by step.

1. Clone the template, and find the project's version and the new one.
2. Render both versions with the project's answers. Adapt both renders to the project: apply the
   name of its package, the new names of the release, and its formatter.
3. In a temporary work tree, apply the new names to the project, and let git merge the difference
   between the renders.
4. Print the report. Then keep the result as a branch, or if there are conflicts, keep the work
   tree.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from packaging.version import Version

from template_update.codemods import folder as codemods
from template_update.codemods.registry import Renames, between
from template_update.errors import UpdateError, UpToDate
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

# An update cannot change these: files, or things outside the project, would have to change too.
FIXED_ANSWERS: Final = {
    "repo_layout": "docs/updating.md shows how to move the files with git",
    "project_slug": "the database and the deployment have that name",
}


@dataclass(frozen=True)
class Request:
    """The request of the user.

    to, origin: the versions to update to and from, as the user wrote them. data: changed answers.
    """

    to: str | None = None
    origin: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Versions:
    """The commits of the template that a project is updated from and to."""

    before: str
    after: str


class Update:
    """An update that is merged in a work tree and not yet kept."""

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
        """Return whether a person must resolve conflicts."""
        return bool(self.report.merged.conflicts)

    def keep(self) -> None:
        """Keep the result as a branch. If there are conflicts, check it out without a commit.

        Replace the branch of an earlier update that has been merged.
        """
        if not self.has_conflicts:
            self.commit_all(f"Update the template from {self.report.before} to {self.report.after}")
        self._worktree.git("switch", "--quiet", "--force-create", self.branch)

    def move_beside_the_project(self) -> Path:
        """Move the work tree to a permanent folder next to the project, and return that folder.

        Raise `UpdateError` if the parent folder of the project is not writable.
        """
        target = conflict_folder(self._project, self.branch)
        try:
            # Do not use `git worktree move`, which cannot move to another file system.
            shutil.move(self._worktree.path, target)
        except OSError as error:
            shutil.rmtree(target, ignore_errors=True)
            raise UpdateError(f"{target} cannot be written: {error.strerror or error}.") from error
        self._project.repository.git("worktree", "repair", str(target))
        self._worktree = Repository(target)
        return target

    def remove_work_tree(self) -> None:
        """Remove the work tree; the branch stays."""
        path = str(self._worktree.path)
        self._project.repository.git("worktree", "remove", "--force", path)

    def commit_all(self, message: str) -> None:
        """Commit the changes in the work tree, if there are any."""
        if self._worktree.git("status", "--porcelain"):
            self._worktree.git("add", "--all")
            self._worktree.git("commit", "--quiet", "--no-verify", "--message", message)


@contextmanager
def prepared(project: Project, request: Request) -> Iterator[Update]:
    """Prepare an update in a temporary work tree, without changing the project.

    Raise `UpToDate` if no newer version exists, and `UpdateError` if the update is not possible.
    """
    with TemporaryDirectory(prefix="template-update-") as name:
        folder = Path(name).resolve()
        source = Source.open(project.source, project.path, folder / "template")
        versions = find_versions(project, source, request)
        branch = f"template/{source.version(versions.after)}"
        check_branch(project, branch)
        with detached_worktree(project.repository, folder / "project") as worktree:
            report = _Merge(project, source, versions, worktree).run(request.data)
            yield Update(project, worktree, report, branch)


def find_versions(project: Project, source: Source, request: Request) -> Versions:
    """Return the versions to update from and to. Raise `UpToDate` or `UpdateError`."""
    before = source.commit(request.origin or project.version)
    after = source.commit(request.to) if request.to else source.releases[-1].commit
    new = source.version(after)
    if source.is_newer(before, after):
        if request.to:
            raise UpdateError(f"The project has {source.name(before)}, which is newer than {new}.")
        after = before
    if before == after and not request.data:
        which = "that version" if request.to else "the newest version"
        raise UpToDate(f"The project has {which}, {source.name(before)}.")
    unknown = request.data.keys() - source.config(after).keys()
    if unknown:
        raise UpdateError(f"Version {new} has no question {', '.join(sorted(unknown))}.")
    for question, reason in FIXED_ANSWERS.items():
        answer = request.data.get(question, project.answers.get(question))
        if answer != project.answers.get(question):
            raise UpdateError(f"An update cannot change {question}: {reason}.")
    return Versions(before, after)


def check_branch(project: Project, branch: str) -> None:
    """Raise `UpdateError` if an earlier update is not finished."""
    project.repository.git("worktree", "prune")
    folder = conflict_folder(project, branch)
    if folder.exists():
        raise UpdateError(
            f"An earlier update is in {folder}: finish it there, or discard it with "
            f'git worktree remove --force "{folder}" && git branch -D {branch}'
        )
    repository = project.repository
    if repository.git("branch", "--show-current") == branch:
        raise UpdateError(f"You are on the branch {branch}: switch to your own branch first.")
    parent = branch.partition("/")[0]
    if repository.succeeds("rev-parse", "--verify", "--quiet", f"refs/heads/{parent}"):
        raise UpdateError(
            f"The branch {parent} is in the way of a branch {branch}: rename it with "
            f"git branch -m {parent} NEW-NAME"
        )
    exists = repository.succeeds("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
    if exists and not repository.succeeds("merge-base", "--is-ancestor", branch, "HEAD"):
        raise UpdateError(
            f"The branch {branch} of an earlier update exists: merge it with git merge {branch}, "
            f"or discard it with git branch -D {branch}"
        )


def conflict_folder(project: Project, branch: str) -> Path:
    """Return the folder for the work tree of an update with conflicts, next to the project."""
    root = project.repository.path
    return root.with_name(f"{root.name}-{branch.replace('/', '-')}")


@contextmanager
def detached_worktree(repository: Repository, folder: Path) -> Iterator[Repository]:
    """Yield a work tree of HEAD without a branch. Remove it, unless it was moved elsewhere."""
    try:
        repository.git("worktree", "add", "--quiet", "--detach", str(folder))
        yield Repository(folder)
    finally:
        # --force twice, because git locks a work tree until it is complete.
        repository.succeeds("worktree", "remove", "--force", "--force", str(folder))
        shutil.rmtree(folder, ignore_errors=True)
        repository.git("worktree", "prune")


class _Merge:
    """The steps between the clone and the report, with their shared state.

    old, new: the backend's folders in the renders of the old and the new version.
    """

    def __init__(
        self, project: Project, source: Source, versions: Versions, worktree: Repository
    ) -> None:
        self.project = project
        self.source = source
        self.versions = versions
        self.worktree = worktree
        self.folder = worktree.path.parent
        self.backend = worktree.path / project.backend
        self.report = Report(source.name(versions.before), source.name(versions.after))

    def run(self, data: Mapping[str, str]) -> Report:
        """Merge, and return the report. data: changed answers."""
        self._render(data)
        names_before = {it.place for it in Names(self.backend, self.package).missing()}
        self._take_own_places()
        self._take_new_names()
        self._merge()
        self._describe(names_before)
        return self.report

    def _render(self, data: Mapping[str, str]) -> None:
        """Render both versions, remove files that updates leave out, and rename the package."""
        project, source, versions = self.project, self.source, self.versions
        # Use the same paths as in the repository, so that git matches the files.
        folders = [self.folder / name / project.folder for name in ("before", "after")]
        render(source, versions.before, project.answers, folders[0])
        render(source, versions.after, {**project.answers, **data}, folders[1])
        answers = read_answers(folders[1])
        part = Path("backend" if answers.get("repo_layout") == "monorepo" else "")
        self.old, self.new = (folder / part for folder in folders)
        self.report.needs_migration = initial_migration(self.old) != initial_migration(self.new)
        config = source.config(versions.after)
        for folder in folders:
            remove_what_no_update_brings(folder, config, answers)
        # Start from the project's answers file, which somebody may have edited.
        own_answers = self.worktree.path / project.folder / ANSWERS_FILE
        shutil.copyfile(own_answers, folders[0] / ANSWERS_FILE)

        self.package = find_package(_below(project.files(), project.backend), _files(self.old))
        for folder in (self.old, self.new):
            rename_package(folder, self.package, self.backend)
        asked = new_questions(source.config(versions.before), config, answers)
        self.report.questions = asked
        self.report.changed_answers = {
            name: (project.answers.get(name), answers[name])
            for name in data
            if name in answers and name not in asked
        }

    def _take_own_places(self) -> None:
        """Move the modules of the old render to their places in the project."""
        rendered = self._commit("before", "Rendered")
        self.moved_files = renamed_files(self.worktree, rendered, "HEAD")
        self.moved = moved_modules(self.moved_files, self.project.backend, self.package)
        codemods.apply(Renames(self.moved), self.old, self.package)

    def _take_new_names(self) -> None:
        """Apply the renames of the releases to the old render and to the project; commit them.

        The new render already has the new names. Only move its modules to their places in the
        project.
        """
        renamed: set[Path] = set()
        source, versions = self.source, self.versions
        moved = self.moved
        self.renamed: list[str] = []
        releases = [*between(source.version(versions.before), source.version(versions.after))]
        if releases:
            # Format the old render first, because a new name can change the length of a line.
            Formatter.of(self.backend).format_like(self.backend, self.old)
        for release in releases:
            release = release.in_package(self.package.name)
            self.renamed += release.names
            renames = release.following(moved)
            moved = release.modules_after(moved)
            codemods.apply(renames, self.old, self.package)
            if files := codemods.apply(renames, self.backend, self.package):
                renamed.update(files)
                self.report.renamed_names += renames.descriptions()
        codemods.apply(Renames(moved), self.new, self.package)
        python = sorted(it for it in renamed if it.suffix == ".py")
        self.worktree.git("add", "--all")
        format_as_before(self.worktree, Formatter.of(self.backend), python)
        if self.worktree.git("status", "--porcelain"):
            self.worktree.git("add", "--all")
            message = f"Apply the renames of the template {self.report.after}"
            self.worktree.git("commit", "--quiet", "--no-verify", "--message", message)

    def _merge(self) -> None:
        """Format the renders like the project, and merge their difference."""
        self.start = self.worktree.git("rev-parse", "HEAD")
        formatter = Formatter.of(self.backend)
        formatter.format_like(self.backend, self.old, self.new)
        self.base = self._commit("before", "Before")
        self.changed = self._commit("after", f"Template {self.report.after}", self.base)
        self.report.merged = merge(self.worktree, self.changed)
        _format_combined(self.worktree, formatter, self.backend, self.report.merged)

    def _commit(self, name: str, message: str, parent: str | None = None) -> str:
        index = self.folder / f"index-{message.split()[0]}"
        return commit_folder(self.worktree, self.folder / name, index, message, parent)

    def _describe(self, names_before: set[tuple[str, str]]) -> None:
        """Fill in the parts of the report that depend on the merged result."""
        report, worktree = self.report, self.worktree
        report.upgrading = _upgrading(self.source, self.versions)
        stat = worktree.raw("diff", "--stat=100", "HEAD").decode("utf-8", "surrogateescape")
        report.files = stat.splitlines()
        touched = worktree.names("diff", "--name-only", "--no-renames", self.base, self.changed)
        report.moved = {
            old: new for old, new in self.moved_files if old in touched or new in touched
        }
        missing = Names(self.backend, self.package).missing()
        report.missing = sorted((it for it in missing if it.place not in names_before), key=str)
        own = worktree.names("diff", "--name-only", self.base, self.start)
        members = removed_members(self.old, self.new, self.package, self.renamed)
        report.members = uses_of_members(self.backend, _below(own, self.project.backend), members)


def moved_modules(
    files: Iterable[tuple[str, str]], prefix: str, package: Package
) -> dict[str, str]:
    """Return the modules of the package that the project has moved, by their old names.

    files: the old and the new path of each moved file. prefix: the path of the backend's folder.
    """
    modules = {
        package.module(old.removeprefix(prefix)): package.module(new.removeprefix(prefix))
        for old, new in files
    }
    return {old: new for old, new in modules.items() if old and new and old != new}


def renamed_files(worktree: Repository, before: str, after: str) -> list[tuple[str, str]]:
    """Return the old and new paths of the files that git finds renamed between two commits."""
    entries = worktree.names("diff", "--name-status", "--diff-filter=R", "-M", before, after)
    return list(zip(entries[1::3], entries[2::3], strict=True))


def _format_combined(
    worktree: Repository, formatter: Formatter, backend: Path, merged: Merged
) -> None:
    """Format the files that keep the additions of both sides: imports may need sorting."""
    files = [worktree.path / name for name in merged.combined if name.endswith(".py")]
    inside = [file for file in files if file.is_relative_to(backend)]
    format_as_before(worktree, formatter, inside)
    for file in inside:
        worktree.git("add", "--", str(file))


def format_as_before(worktree: Repository, formatter: Formatter, files: Iterable[Path]) -> None:
    """Format the files that were formatted at HEAD, also if they moved. Git must have all files."""
    moved = {new: old for old, new in renamed_files(worktree, "--cached", "HEAD")}
    names = {it: it.relative_to(worktree.path).as_posix() for it in files if it.is_file()}
    before = {it: worktree.blob("HEAD", moved.get(name, name)) for it, name in names.items()}
    formatter.format_as_before({it: text for it, text in before.items() if text is not None})


def _upgrading(source: Source, versions: Versions) -> dict[str, str]:
    """Return the *Upgrading* texts of the versions after the old one, the oldest first."""
    changelog = source.read(versions.after, "CHANGELOG.md")
    old, new = Version(source.version(versions.before)), Version(source.version(versions.after))
    between = [it.version for it in source.releases if old < Version(it.version) <= new]
    texts = {version: upgrading(changelog, version) for version in between}
    return {version: text for version, text in texts.items() if text}


def _below(names: list[str], folder: str) -> list[str]:
    return [name.removeprefix(folder) for name in names if name.startswith(folder)]


def _files(folder: Path) -> list[str]:
    return [it.relative_to(folder).as_posix() for it in folder.rglob("*") if it.is_file()]
