"""The work of a team in a project, which every update must keep."""

from pathlib import Path
from typing import Final

from tests.support.commands import commit
from tests.support.rendering import backend
from tests.update.history import replace

NEW: Final = {
    "app/api/v1/notes.py": "# An endpoint.\n",
    "app/models/note.py": "# A model.\n",
    "alembic/versions/0002_notes.py": "# Its migration.\n",
}
# At the ends of files, away from the lines that a version changes.
ADDED: Final = {
    "app/api/v1/__init__.py": "# The endpoint's router.\n",
    "env.example": "MY_SETTING=1\n",
    "README.md": "\nA paragraph of ours.\n",
}
# After the last import. Versions also add imports before it, and to the list after it.
MODELS: Final = "app/models/__init__.py"
MODEL: Final = "# The model's import.\n"
STEP: Final = "      - run: make ours\n"
CHANGED: Final = ("JWT_ACCESS_TTL_SECONDS=900", "JWT_ACCESS_TTL_SECONDS=600")
# Files that a version adds, and that a team may have had before.
OWN_FILES: Final = ("AGENTS.md", ".vscode/settings.json")
OWN_TEXT: Final = '{"ours": true}\n'


def add_own_file(project: Path, name: str) -> Path:
    """Commit a file of the team in a project, and return the project."""
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text(OWN_TEXT)
    commit(project, "Our file")
    return project


def do_work(project: Path) -> None:
    """Add files to a project's backend, and lines to files of the template."""
    for name, text in NEW.items():
        (backend(project) / name).write_text(text)
    for name, text in ADDED.items():
        replace(backend(project) / name, r"\Z", text)
    replace(backend(project) / MODELS, r"(?<=from app\.models\.user import User\n)", MODEL)
    replace(backend(project) / "env.example", *CHANGED)
    replace(workflow(project), r"\Z", STEP)


def assert_work_is_there(project: Path) -> None:
    """Fail unless all of this work is in the current folder of the backend."""
    for name, text in NEW.items():
        assert (backend(project) / name).read_text() == text
    for name, text in ADDED.items():
        assert (backend(project) / name).read_text(encoding="utf-8").endswith(text), name
    assert MODEL in (backend(project) / MODELS).read_text(encoding="utf-8")
    assert CHANGED[1] in (backend(project) / "env.example").read_text(encoding="utf-8")
    assert workflow(project).read_text(encoding="utf-8").endswith(STEP)


def workflow(project: Path) -> Path:
    """Return the workflow that checks the backend."""
    name = "ci" if backend(project) == project else "backend"
    return project / f".github/workflows/{name}.yml"
