"""Versions that rename something: the update renames it in the project's own code too."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from scripts.projects import project_environment
from tests.support.commands import commit, git, run
from tests.support.rendering import backend
from tests.update.history import MAJOR, History, ProjectFrom
from tests.update.profiles import PROFILES, own_lines
from tests.update.test_matrix import PYTHON, suite
from tests.update.updating import template_update

TEAMS: Final = ("untouched", "line-length-88", "moved-module", "all-of-it")
# The tests of these teams run too. mypy checks all teams.
SUITES: Final = {"all-of-it"}
OWN: Final = '''"""What acme does with the template's names."""

from app.core.settings import Settings
from app.core.tokens import AccessClaims, AccessTokens
from app.services import errors, throttle


class NotSignedIn(Exception):
    """Acme's own exception."""


def check(settings: Settings, tokens: AccessTokens, text: str) -> AccessClaims | None:
    if settings.login_throttle_enabled and throttle.Throttle(settings):
        raise NotSignedIn
    claims = tokens.check(text, even_expired=True)
    if claims is None:
        raise errors.NotSignedIn
    return claims


TAKE_BACK = throttle.Throttle.take_back
'''
EXPECTED: Final = (
    ("from app.services import errors, throttle", "from app.services import errors, rate_limits"),
    ("login_throttle_enabled", "rate_limits_enabled"),
    ("throttle.Throttle", "rate_limits.RateLimiter"),
    ("tokens.check(text, even_expired", "tokens.verify(text, allow_expired"),
    ("errors.NotSignedIn", "errors.Unauthenticated"),  # by way of NotAuthenticated, in 1.0.0
    ("RateLimiter.take_back", "RateLimiter.refund"),
)


@pytest.mark.parametrize("name", TEAMS)
def test_own_code_follows_new_names(
    history: History, project_from: ProjectFrom, python: Path, tmp_path: Path, name: str
) -> None:
    profile = PROFILES[name]
    project = project_from("v0.3.0", {**PYTHON, **profile.answers})
    (backend(project) / "app/core/acme.py").write_text(OWN)
    (backend(project) / "acme.env").write_text("LOGIN_THROTTLE_ENABLED=false\n")
    profile.change(project)
    commit(project, "Our work")
    lines = len(own_lines(project))

    git(tmp_path, "clone", "--quiet", f"--branch={MAJOR}", history.repository, tmp_path / "code")
    output = template_update(project, f"--to={MAJOR}", code=tmp_path / "code")
    package = "shop" if (backend(project) / "shop").exists() else "app"
    assert f"`{package}.services.throttle` is now `{package}.services.rate_limits`" in output
    assert "## Names that no longer exist" not in output
    git(project, "checkout", "--quiet", f"template/{MAJOR.removeprefix('v')}")

    assert len(own_lines(project)) == lines
    assert (backend(project) / "acme.env").read_text() == "RATE_LIMITS_ENABLED=false\n"
    if name == "untouched":
        text = OWN
        for old, new in EXPECTED:
            text = text.replace(old, new)
        assert (project / "app/core/acme.py").read_text() == text
    if name in SUITES:
        assert suite(project, python) == ""
    mypy = ["-m", "mypy", "--no-incremental", package]
    run([python, *mypy], backend(project), project_environment())
    grep = ["git", "grep", "-nE", "even_expired|services.throttle|LOGIN_THROTTLE_ENABLED"]
    assert subprocess.run(grep, cwd=project, capture_output=True).stdout == b""
