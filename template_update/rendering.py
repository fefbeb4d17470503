"""Rendering a version of the template with a project's answers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from copier import Settings, run_copy
from copier.errors import CopierError
from jinja2.sandbox import SandboxedEnvironment
from pathspec import GitIgnoreSpec

from template_update.errors import UpdateError
from template_update.project import ANSWERS_FILE
from template_update.source import Source

# Contains the initial migration of a new project. Existing projects have their own migrations.
MIGRATIONS: Final = "alembic/versions"


def render(source: Source, commit: str, answers: Mapping[str, Any], folder: Path) -> None:
    """Render a version of the template into a folder.

    answers: as in the answers file; missing answers get their defaults. Raise `UpdateError` if
    the version does not accept the answers.
    """
    try:
        run_copy(
            str(source.clone.path),
            folder,
            {name: answer for name, answer in answers.items() if name[0] != "_"},
            vcs_ref=commit,
            settings=Settings(),  # not the developer's own
            defaults=True,
            quiet=True,
        )
    except (CopierError, ValueError) as error:
        raise UpdateError(
            f"Version {source.name(commit)} does not accept the project's answers: {error}"
        ) from error
    write_origin(folder / ANSWERS_FILE, source.address, source.reference(commit))


def write_origin(answers_file: Path, address: str, reference: str) -> None:
    """Write the template's address and the rendered version into an answers file."""
    text = answers_file.read_text(encoding="utf-8")
    for name, value in (("_src_path", address), ("_commit", reference)):
        line = yaml.safe_dump({name: value}, width=10_000).strip()
        text = re.sub(rf"(?m)^{name}: .*$", line.replace("\\", r"\\"), text)
    answers_file.write_text(text, encoding="utf-8")


def read_answers(folder: Path) -> dict[str, Any]:
    """Return the answers in the answers file of a render."""
    answers = yaml.safe_load((folder / ANSWERS_FILE).read_text(encoding="utf-8"))
    return {str(name): answer for name, answer in answers.items()}


def initial_migration(backend: Path) -> str:
    """Return the initial migration of a new project, which describes the template's models."""
    files = sorted((backend / MIGRATIONS).glob("*.py"))
    return "".join(file.read_text(encoding="utf-8") for file in files)


def remove_what_no_update_brings(
    folder: Path, config: Mapping[str, Any], answers: Mapping[str, Any]
) -> None:
    """Delete the files of a render that `_exclude` excludes from updates.

    config: the template's `copier.yml`.
    """
    environment = SandboxedEnvironment()
    values = {**answers, "_copier_operation": "update"}
    patterns = [environment.from_string(it).render(values) for it in config.get("_exclude", [])]
    excluded = GitIgnoreSpec.from_lines(pattern for pattern in patterns if pattern)
    for name in list(excluded.match_tree_files(folder)):
        (folder / name).unlink()


def new_questions(
    before: Mapping[str, Any], after: Mapping[str, Any], answers: Mapping[str, Any]
) -> dict[str, tuple[str, Any]]:
    """Return the questions that only the newer `copier.yml` asks, with help text and answer."""
    return {
        name: (" ".join(str(after[name].get("help", "")).split()), answers[name])
        for name in after
        if _is_asked(name, after) and not _is_asked(name, before) and name in answers
    }


def _is_asked(name: str, config: Mapping[str, Any]) -> bool:
    question = config.get(name)
    return isinstance(question, dict) and question.get("when") is not False
