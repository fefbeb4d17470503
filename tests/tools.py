"""Programs that the tests of the last tier need, and that no Python package brings."""

import os
import shutil
from typing import Final, NoReturn

import pytest

# By command, the package of Debian and Ubuntu; `.ci/run` installs them all.
PACKAGES: Final = {
    "buildah": "buildah",
    "caddy": "caddy",
    "chromium": "chromium",
    "debootstrap": "debootstrap",
    "iptables": "iptables",
    "nginx": "nginx",
    "npm": "npm",
    "pgbouncer": "pgbouncer",
}
# Debian keeps servers out of the path of users.
PATH: Final = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/opt/homebrew/bin"]
)


def require(command: str) -> str:
    """Return where a program is. Where it is missing, skips the test by name; in CI, fails it."""
    found = shutil.which(command, path=PATH)
    if found is None:
        give_up(f"there is no {command} here: apt-get install {PACKAGES[command]}")
    return found


def require_root(reason: str) -> None:
    """Skip a test for an ordinary user, by name and in CI too: no package makes them root."""
    if os.geteuid() != 0:
        pytest.skip(f"{reason}: run this test as root")


def give_up(reason: str) -> NoReturn:
    """Skip a test for want of something; in CI, where everything can be had, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    # A laptop need not have everything; its owner reads what was left out, and CI runs it.
    pytest.skip(reason)
