"""The project that the command updates."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from template_update.errors import UpdateError
from template_update.git import GitError, Repository

ANSWERS_FILE: Final = ".copier-answers.yml"
# Files and tables of pyproject.toml that exist only in projects with one package manager.
PACKAGE_MANAGER_FILES: Final = {
    "uv": {"uv.lock", "[tool.uv]"},
    "poetry": {"poetry.lock", "poetry.toml", "[tool.poetry]"},
    "pip": {"requirements.lock", "requirements.txt"},
}


@dataclass(frozen=True)
class Project:
    """A project that was rendered from the template.

    repository: its git repository. folder: the project's folder, relative to the root of the
    repository. answers: the content of its answers file.
    """

    repository: Repository
    folder: str
    answers: dict[str, Any]

    @classmethod
    def find(cls, start: Path) -> "Project":
        """Return the project that contains a folder. Raise `UpdateError` if there is none."""
        start = start.resolve()
        try:
            root = Path(Repository(start).git("rev-parse", "--show-toplevel"))
        except GitError as error:
            raise UpdateError(f"{start} is not in a git repository: run git init first.") from error
        repository = Repository(root)
        if not repository.succeeds("rev-parse", "--verify", "HEAD"):
            raise UpdateError("The project has no commit yet: commit it first.")
        if repository.git("status", "--porcelain"):
            raise UpdateError(
                "There are changes that are not committed: commit or stash them first. "
                "`git status` lists them."
            )
        if not repository.succeeds("var", "GIT_COMMITTER_IDENT"):
            raise UpdateError(
                "Git does not know who you are: set your name and address with git config "
                "user.name NAME and git config user.email ADDRESS."
            )
        found = [it for it in (start, *start.parents) if it.is_relative_to(root)]
        for folder in found:
            if (folder / ANSWERS_FILE).is_file():
                relative = "" if folder == root else folder.relative_to(root).as_posix() + "/"
                project = cls(repository, relative, _read_answers(folder / ANSWERS_FILE))
                project.check_fixed_answers()
                return project
        raise UpdateError(
            f"There is no {ANSWERS_FILE} here: run this in a project of the template."
        )

    @property
    def path(self) -> Path:
        """The project's folder."""
        return self.repository.path / self.folder

    @property
    def backend(self) -> str:
        """The backend's folder, relative to the repository's root: empty, or ending in a slash."""
        in_monorepo = self.answers.get("repo_layout") == "monorepo"
        return self.folder + ("backend/" if in_monorepo else "")

    @property
    def source(self) -> str:
        """The address of the template, as in the answers file."""
        return str(self.answers["_src_path"])

    @property
    def version(self) -> str:
        """The project's version of the template, as in the answers file."""
        return str(self.answers["_commit"])

    def files(self) -> list[str]:
        """Return the paths of all committed files, relative to the root of the repository."""
        return self.repository.names("ls-tree", "-r", "--name-only", "HEAD")

    def check_fixed_answers(self) -> None:
        """Check that the answers match the files, because somebody may have edited the answers.

        Raise `UpdateError` if they do not match.
        """
        files = set(self.files())
        other = "backend" if self.backend != self.folder else "monorepo"
        elsewhere = self.folder + ("" if other == "backend" else "backend/")
        if self.backend + "pyproject.toml" not in files and elsewhere + "pyproject.toml" in files:
            raise UpdateError(
                f"{ANSWERS_FILE} says repo_layout: {self.answers.get('repo_layout')}, but the "
                f"backend is where repo_layout: {other} puts it. Set the answer back to {other}; "
                "docs/updating.md shows how to move the files."
            )
        answer = self.answers.get("package_manager", "uv")
        pyproject = self.repository.blob("HEAD", f"{self.backend}pyproject.toml") or b""
        names = {it.removeprefix(self.backend) for it in files if it.startswith(self.backend)}
        names |= set(pyproject.decode("utf-8", "replace").split("\n"))
        present = [name for name, own in PACKAGE_MANAGER_FILES.items() if own & names]
        if present and answer not in present:
            actual = present[0]
            raise UpdateError(
                f"{ANSWERS_FILE} says package_manager: {answer}, but the project has the files of "
                f"{actual}. Set the answer back to {actual}, commit that, and change it with an "
                f"update: --data package_manager={answer}."
            )


def _read_answers(file: Path) -> dict[str, Any]:
    try:
        answers = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise UpdateError(f"{ANSWERS_FILE} cannot be read: {problem}") from error
    missing = [
        name
        for name in ("_src_path", "_commit")
        if not isinstance(answers, dict) or not answers.get(name)
    ]
    if missing:
        raise UpdateError(
            f"{ANSWERS_FILE} has no {missing[0]}: restore the file. "
            f"`git log -- {ANSWERS_FILE}` lists its versions."
        )
    return {str(name): answer for name, answer in answers.items()}


def environment() -> dict[str, str]:
    """Return the environment for the project's commands, without our own Python settings."""
    ours = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    return {name: value for name, value in os.environ.items() if name not in ours}
