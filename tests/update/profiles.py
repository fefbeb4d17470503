"""Teams that use the template: what each has changed in its project before an update."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.commands import git, run
from tests.support.rendering import backend
from tests.support.variants import Answers
from tests.update.history import replace

# Each change of a profile contains this word. An update must lose none of these lines.
MARK: Final = "acme"


@dataclass(frozen=True)
class Profile:
    """A team's work.

    change: makes the changes in a newly rendered project.
    gone: the files that the team deleted, which must not come back.
    """

    change: Callable[[Path], None]
    answers: Answers = field(default_factory=dict)
    gone: tuple[str, ...] = ()


def own_lines(project: Path) -> list[str]:
    """Return the lines of a project with the mark, without their positions and indentation."""
    text = run(["git", "grep", "-hI", MARK], project) if has_mark(project) else ""
    return sorted(line.strip().rstrip(",").replace("'", '"') for line in text.splitlines())


def has_mark(project: Path) -> bool:
    """Return whether any committed file of a project contains the mark."""
    return subprocess.run(["git", "grep", "-qI", MARK], cwd=project).returncode == 0


def _format(project: Path, *, line_length: int = 100, quotes: str = "double") -> None:
    """Configure the formatter of a project, and format everything."""
    part = backend(project)
    replace(
        part / "pyproject.toml",
        r"(?m)^line-length = 100$",
        f"line-length = {line_length}  # acme\nformat.quote-style = '{quotes}'",
    )
    ruff = [sys.executable, "-m", "ruff"]
    run([*ruff, "check", "--quiet", "--fix", "--exit-zero", "--select=I", "."], part)
    run([*ruff, "format", "--quiet", "."], part)


def _format_with_black(project: Path) -> None:
    part = backend(project)
    with (part / "pyproject.toml").open("a") as file:
        file.write('\n[tool.black]\nline-length = 88\ntarget-version = ["py311"]  # acme\n')
    run([sys.executable, "-m", "black", "--quiet", "."], part)


def _rename_package(project: Path) -> None:
    """Rename `app` to `shop`: in code like an editor, and with a search in the other files."""
    part = backend(project)
    git(part, "mv", "app", "shop")
    for file in part.rglob("*"):
        if ".git" in file.parts or not file.is_file() or file.suffix in {".md", ".png"}:
            continue
        text = before = file.read_text(encoding="utf-8")
        text = re.sub(r"\b(from|import) app\b", r"\1 shop", text)
        text = re.sub(r"(?<![\w.])app\.(?=(api|cli|core|db|main|models|services)\b)", "shop.", text)
        text = re.sub(r"-m app\b", "-m shop", text).replace('"-m", "app"', '"-m", "shop"')
        if file.suffix == ".py":
            text = re.sub(r'((/ |process\(|Path\()")app"', r'\1shop"', text)
            commands = "serve|dev|migrate|openapi|create-user"
            text = re.sub(rf'"app(\."|", "({commands})")', r'"shop\1', text)
        else:
            text = re.sub(r'(?<=[\["! ])app(?=["/]|$)', "shop", text, flags=re.MULTILINE)
        if file.name == "Dockerfile":
            text = text.replace("alembic.ini app", "alembic.ini shop").replace("-q app", "-q shop")
        if text != before:
            file.write_text(text, encoding="utf-8")
    replace(part / "shop/main.py", r"\Z", "\n# The shop of acme.\n")


def _move_module(project: Path) -> None:
    """Move a module into its own package, and import it from there."""
    part = backend(project)
    (part / "app/services/accounts").mkdir()
    (part / "app/services/accounts/__init__.py").write_text('"""The accounts of acme."""\n')
    git(part, "mv", "app/services/users.py", "app/services/accounts/users.py")
    for file in [*part.glob("app/**/*.py"), *part.glob("tests/**/*.py")]:
        text = before = file.read_text(encoding="utf-8")
        text = text.replace("app.services.users", "app.services.accounts.users")
        text = re.sub(r"(?m)^from app\.services import (.*, )?users\b(, .*)?$", _split_import, text)
        if text != before:
            file.write_text(text, encoding="utf-8")


def _split_import(match: re.Match[str]) -> str:
    rest = ", ".join(part.strip(", ") for part in match.groups() if part)
    moved = "from app.services.accounts import users"
    return f"from app.services import {rest}\n{moved}" if rest else moved


def _add_columns(project: Path) -> None:
    part = backend(project)
    replace(
        part / "app/models/user.py",
        r"(?m)^(    is_active: .*)$",
        r'\1\n    acme_name: Mapped[str] = mapped_column(Text, server_default="")',
    )
    (part / "alembic/versions/0002_acme.py").write_text(MIGRATION)
    replace(part / "app/api/schemas.py", r"(?m)^(    is_active: bool)$", r"\1  # as acme wants it")


def _add_resource(project: Path) -> None:
    """Add a resource at the ends of files, as the template's pages describe."""
    part = backend(project)
    replace(part / "app/services/errors.py", r"\Z", ERROR)
    replace(part / "app/api/schemas.py", r"\Z", SCHEMA)
    replace(
        part / "app/api/problems.py",
        r'(404, "session-not-found", "Session not found", "There is no such session."\n    \),\n)',
        r"\1" + PROBLEM,
    )
    (part / "app/api/v1/orders.py").write_text(ROUTER)
    (part / "tests/api/test_orders.py").write_text(ROUTER_TEST)
    routers = part / "app/api/v1/__init__.py"
    replace(
        routers,
        r"(?m)^from app\.api\.v1 import ",
        "from app.api.v1 import orders as acme_orders\n\\g<0>",
    )
    replace(routers, r"\Z", "router.include_router(acme_orders.router)\n")
    replace(part / "env.example", r"\Z", "# ACME_ORDERS=10\n")


def _rewrite_readme(project: Path) -> None:
    text = "# Acme's shop\n\nRun `make dev`. All else is in acme's wiki.\n"
    (backend(project) / "README.md").write_text(text)


def _delete_docs_and_tests(project: Path) -> None:
    for name in DELETED:
        # Since 1.0.0, projects have no test of the security page.
        git(backend(project), "rm", "-r", "--quiet", "--ignore-unmatch", name)
    replace(backend(project) / "app/main.py", r"\Z", "\n# acme tests this elsewhere.\n")


def _bump_dependencies(project: Path) -> None:
    file = backend(project) / "pyproject.toml"
    text = re.sub(r'"(fastapi|httpx|pytest)~=([\d.]+)"', r'"\1>=\2"', file.read_text("utf-8"))
    text = text.replace('version = "0.1.0"\n', 'version = "4.2.0"  # acme\n')
    file.write_text(
        text.replace("dependencies = [\n", "dependencies = [\n    # acme\n", 1), "utf-8"
    )


def _own_infrastructure(project: Path) -> None:
    """Add settings, a Makefile target, a step of the workflow, and an ignored folder."""
    part = backend(project)
    replace(
        part / "app/core/settings.py",
        r"(?m)^(    telemetry_enabled: .*)$",
        r'\1\n    acme_region: str = "eu"',
    )
    replace(part / "env.example", r"(?m)^(# PORT=.*)$", r"# ACME_REGION=eu\n\1")
    replace(part / "Makefile", r"\Z", "\nacme: ## release to acme\n\t@echo acme\n")
    replace(part / ".gitignore", r"\Z", "acme-data/\n")
    name = "ci" if part == project else "backend"
    replace(project / f".github/workflows/{name}.yml", r"\Z", "      - run: echo acme\n")
    replace(
        part / "app/main.py",
        r"(?m)^    add_health\(app\)$|^    app\.include_router\(health.*$",
        "\\g<0>\n    app.state.acme = settings.environment",
    )


def _all_of_it(project: Path) -> None:
    _add_resource(project)
    _add_columns(project)
    _rename_package(project)
    _rewrite_readme(project)
    part = backend(project)
    replace(
        part / "pyproject.toml",
        r"(?m)^line-length = 100$",
        "line-length = 88  # acme\nformat.quote-style = 'single'",
    )
    run(
        [sys.executable, "-m", "ruff", "check", "-q", "--fix", "--exit-zero", "--select=I", "."],
        part,
    )
    run([sys.executable, "-m", "ruff", "format", "--quiet", "."], part)


MIGRATION: Final = '''"""Add acme's name to users.

Revision ID: 0002_acme
Revises: 0001
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002_acme"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column(
        "users", sa.Column("acme_name", sa.Text(), server_default="", nullable=False)
    )


def downgrade() -> None:
    """Take this revision back."""
    op.drop_column("users", "acme_name")
'''
ERROR: Final = '''

class OrderNotFound(ServiceError):
    """There is no such order at acme."""
'''
SCHEMA: Final = '''

class OrderOut(BaseModel):
    """An order of acme's customers."""

    number: int
'''
PROBLEM: Final = """    errors.OrderNotFound: Problem(
        404, "order-not-found", "Order not found", "There is no such order at acme."
    ),
"""
ROUTER: Final = '''"""Orders of acme's customers."""

from fastapi import APIRouter

from app.api.deps import CurrentUser
from app.api.problems import problem_responses
from app.api.schemas import OrderOut
from app.services.errors import OrderNotFound

router = APIRouter(prefix="/orders", tags=["orders"])


@router.get("/{number}", responses=problem_responses(401, 404, 422, 503))
async def read_order(number: int, user: CurrentUser) -> OrderOut:
    """Read an order."""
    if number > 10:
        raise OrderNotFound
    return OrderOut(number=number)
'''
ROUTER_TEST: Final = """import httpx


async def test_order_of_acme(signed_in: httpx.AsyncClient) -> None:
    assert (await signed_in.get("/api/v1/orders/1")).json() == {"number": 1}


async def test_unknown_order_of_acme(signed_in: httpx.AsyncClient) -> None:
    assert (await signed_in.get("/api/v1/orders/11")).status_code == 404
"""
DELETED: Final = (
    "docs/pgvector.md",
    "docs/frontend.md",
    "tests/api/test_me.py",
    "tests/api/test_health.py",
    # It requires the tests that the security page names.
    "tests/test_security_page.py",
)

PROFILES: Final[dict[str, Profile]] = {
    "untouched": Profile(lambda _: None),
    "line-length-88": Profile(lambda project: _format(project, line_length=88)),
    "line-length-120": Profile(lambda project: _format(project, line_length=120)),
    "single-quotes": Profile(lambda project: _format(project, quotes="single")),
    "black": Profile(_format_with_black),
    "renamed-package": Profile(_rename_package),
    "moved-module": Profile(_move_module),
    "own-columns": Profile(_add_columns),
    "own-resource": Profile(_add_resource),
    "own-infrastructure": Profile(_own_infrastructure, {"deploy_target": "docker"}),
    "readme-rewritten": Profile(_rewrite_readme, {"package_manager": "pip"}),
    "docs-and-tests-deleted": Profile(_delete_docs_and_tests, gone=DELETED),
    "dependencies-bumped": Profile(_bump_dependencies, {"package_manager": "poetry"}),
    "monorepo": Profile(_add_resource, {"repo_layout": "monorepo"}),
    "all-of-it": Profile(_all_of_it, {"deploy_target": "fly", "cookie_samesite": "strict"}),
}
