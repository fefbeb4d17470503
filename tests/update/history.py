"""The history of the template: a repository with all releases, and with synthetic versions.

The synthetic version before the current one makes an update hard, because all kinds of changes are
between the two. This matters before the first release, and after a release with few changes.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.version import Version

from scripts.check_template import BACKEND, ROOT, TEMPLATE
from template_update.codemods.registry import load
from template_update.releases import releases, version_in
from tests.support.commands import commit, git
from tests.support.rendering import copy_work_tree
from tests.support.variants import Answers

# Synthetic, and older than all releases.
PREVIOUS: Final = "v0.0.0"
# Synthetic, and newer than all releases.
NEXT: Final = "v9999.0.0"
# Synthetic: the work tree with an additional router, model, setting and error.
FEATURES: Final = "v9000.0.0"
# Synthetic: the work tree with a renamed class and a renamed setting.
MAJOR: Final = "v8000.0.0"

# A line of the generated workflow, which both the template and a project change.
TIMEOUT: Final = "timeout-minutes: 15"


# A function that renders a version with answers, and commits it as a project.
ProjectFrom = Callable[[str, Answers], Path]


@dataclass(frozen=True)
class History:
    """A repository of the template. Its tags are the versions; `current` is the work tree."""

    repository: Path
    current: str


def origins() -> list[str]:
    """Return the versions from which a project can be updated."""
    return [PREVIOUS, *(release.tag for release in releases(ROOT))]


def make_history(repository: Path) -> History:
    """Create the repository: this clone's history with tagged releases and synthetic versions."""
    git(repository.parent, "clone", "--quiet", "--no-tags", ROOT, repository)
    for release in releases(ROOT):
        git(repository, "tag", release.tag, release.commit)
    git(repository, "rm", "-r", "--quiet", ".")
    copy_work_tree(repository)
    version = version_in((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    # Newer than the release of this version, and than the next one if that renames something.
    newest = max([version, *load()], key=Version)
    current = f"v{newest}.post1"
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "The work tree")
    git(repository, "tag", current)
    make_previous(repository)
    commit(repository, "Synthetic: before", tag=PREVIOUS)
    git(repository, "checkout", "--quiet", current)
    make_major(repository)
    commit(repository, "Synthetic: names", tag=MAJOR)
    git(repository, "checkout", "--quiet", current)
    make_features(repository / TEMPLATE / BACKEND)
    commit(repository, "Synthetic: features", tag=FEATURES)
    git(repository, "checkout", "--quiet", current)
    make_next(repository / TEMPLATE / BACKEND)
    commit(repository, "Synthetic: after", tag=NEXT)
    return History(repository, current)


def make_previous(repository: Path) -> None:
    """Remove from the work tree what an update then adds: one change of every kind."""
    template = repository / TEMPLATE
    backend = template / BACKEND
    # A question that is not asked yet.
    replace(repository / "copier.yml", r"(?ms)^frontend_origin:.*?\n\n", COMPUTED_ORIGIN)
    # A page that does not exist yet, and one that is removed later.
    (backend / "docs/updating.md.jinja").rename(backend / "docs/old.md")
    readme = backend / "README.md.jinja"
    replace(readme, r"\[docs/updating\.md\]\(docs/updating\.md\) explains[^.]*\.", "")
    # Pages and settings that a team may have already.
    shutil.rmtree(template / ".vscode")
    for name in ("AGENTS.md.jinja", "CLAUDE.md"):
        (backend / name).unlink()
    # An index that is missing in a model and in the first migration.
    replace(backend / "app/models/session.py", r"(expires_at.*), index=True\)", r"\1)")
    replace(backend / "alembic/versions/0001_initial.py", r".*ix_sessions_expires_at.*\n", "", 2)
    # A line in a file that belongs to the owner of the repository.
    root_readme = template / "{% if repo_layout == 'monorepo' %}README.md{% endif %}.jinja"
    replace(root_readme, "Ctrl-C stops both", "Ctrl-C ends both")
    # Lines in a module, in settings, in a page, and in files that projects should not edit.
    replace(backend / "app/main.py", r"\A.*\n", '"""The application."""\n')
    replace(backend / "env.example.jinja", r"# local, test, staging or production\. .*\n", "")
    replace(readme, "## How do I …", "## Questions")
    replace(template / ".github/workflows/{{ workflow }}.yml.jinja", TIMEOUT, "timeout-minutes: 10")
    replace(backend / ".editorconfig", "root = true", "root = true # of all")


COMPUTED_ORIGIN: Final = """frontend_origin:
  type: str
  default: http://localhost:5173
  when: false

"""


def make_next(backend: Path) -> None:
    """Change a module, the settings and the first migration again, and add a migration."""
    replace(backend / "app/main.py", r"\Z", "\n\n# A line of the next version.\n")
    replace(backend / "env.example.jinja", r"\A", "# A line of the next version.\n")
    replace(backend / "alembic/versions/0001_initial.py", r"\Z", "# A line of the next version.\n")
    (backend / "alembic/versions/0002_next.py").write_text("# A migration of the next version.\n")


def make_features(backend: Path) -> None:
    """Add what a release typically adds, at the ends of the template's modules."""
    (backend / "app/models/announcement.py").write_text(ANNOUNCEMENT)
    replace(backend / "app/models/__init__.py", r"from app\.models\.attempt", ANNOUNCEMENT_IMPORT)
    replace(
        backend / "app/models/__init__.py", r"__all__ = \[\n", '__all__ = [\n    "Announcement",\n'
    )
    replace(backend / "alembic/versions/0001_initial.py", r"(?m)^def downgrade", CREATE_TABLE)
    replace(
        backend / "app/services/errors.py",
        r"\Z",
        '\n\nclass AnnouncementNotFound(ServiceError):\n    """There is no such announcement."""\n',
    )
    replace(
        backend / "app/api/schemas.py",
        r"\Z",
        '\n\nclass AnnouncementOut(BaseModel):\n    """An announcement."""\n\n    text: str\n',
    )
    replace(
        backend / "app/api/problems.py", r"(?m)^    errors\.TooManyAttempts: Problem", NEW_PROBLEM
    )
    replace(
        backend / "app/core/settings.py.jinja",
        r"(?m)^(    telemetry_enabled: bool .*)$",
        r"\1\n    announcement_limit: int = Field(10, ge=1)",
    )
    replace(backend / "env.example.jinja", r"(?m)^(# HOST=)", r"# ANNOUNCEMENT_LIMIT=10\n\1")
    (backend / "app/api/v1/announcements.py").write_text(ANNOUNCEMENTS)
    replace(
        backend / "app/api/v1/__init__.py",
        r"(?s)(from app\.api\.v1 import \(\n)(.*)\Z",
        r"\1    announcements,\n\2router.include_router(announcements.router)\n",
    )


def make_major(repository: Path) -> None:
    """Rename a setting, and a class that 1.0.0 also renames, and register both."""
    backend = repository / TEMPLATE / BACKEND
    texts = [
        file
        for file in backend.rglob("*")
        if file.suffix in {".py", ".jinja", ".md"} and file.is_file()
    ]
    for pattern, new in NEW_NAMES.items():
        changed = 0
        for file in texts:
            text, found = re.subn(pattern, new, file.read_text(encoding="utf-8"))
            if found:
                file.write_text(text, encoding="utf-8")
            changed += found
        assert changed, pattern
    with (repository / "template_update/codemods/renames.toml").open("a") as registry:
        registry.write(REGISTERED)


NEW_NAMES: Final = {
    r"\bNotAuthenticated\b": "Unauthenticated",
    r"\bLOGIN_THROTTLE_ENABLED\b": "RATE_LIMITS_ENABLED",
    r"\blogin_throttle_enabled\b": "rate_limits_enabled",
}
REGISTERED: Final = """
["8000.0.0".names]
"app.services.errors.NotAuthenticated" = "app.services.errors.Unauthenticated"

["8000.0.0".settings]
"LOGIN_THROTTLE_ENABLED" = "RATE_LIMITS_ENABLED"
"""

ANNOUNCEMENT: Final = '''"""Announcements."""

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class Announcement(Base):
    """A text for all users."""

    __tablename__ = "announcements"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)
'''
ANNOUNCEMENT_IMPORT: Final = """from app.models.announcement import Announcement
from app.models.attempt"""
CREATE_TABLE: Final = """    op.create_table(
        "announcements",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcements")),
    )


def downgrade"""
NEW_PROBLEM: Final = """    errors.AnnouncementNotFound: Problem(
        404, "announcement-not-found", "Announcement not found", "There is none with this number."
    ),
    errors.TooManyAttempts: Problem"""
ANNOUNCEMENTS: Final = '''"""Announcements, for everybody."""

from fastapi import APIRouter

from app.api.problems import problem_responses
from app.api.schemas import AnnouncementOut
from app.services.errors import AnnouncementNotFound

router = APIRouter(prefix="/announcements", tags=["announcements"])


@router.get("/latest", responses=problem_responses(404, 503))
async def read_announcement() -> AnnouncementOut:
    """Read the latest announcement."""
    raise AnnouncementNotFound
'''


def replace(file: Path, pattern: str, new: str, times: int = 1) -> None:
    """Replace a pattern in a file that must contain it a number of times."""
    text, found = re.subn(pattern, new, file.read_text(encoding="utf-8"))
    assert found == times, f"{file}: {pattern}"
    file.write_text(text, encoding="utf-8")
