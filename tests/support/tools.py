"""Programs that the tests require, and that no Python package provides."""

import os
import shutil
from typing import Final, NoReturn

import pytest

# The package of Debian and Ubuntu for each command; `.ci/run` installs them all.
PACKAGES: Final = {
    "buildah": "buildah",
    "caddy": "caddy",
    "chromium": "chromium",
    "curl": "curl",
    "debootstrap": "debootstrap",
    "iptables": "iptables",
    "nginx": "nginx",
    "npm": "npm",
    "pgbouncer": "pgbouncer",
}
# On Debian, servers are not in the path of users.
PATH: Final = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/opt/homebrew/bin"]
)


def require(command: str) -> str:
    """Return the path of a program. If it is missing, skip the test; in CI, fail it."""
    found = shutil.which(command, path=PATH)
    if found is None:
        give_up(f"there is no {command} here: apt-get install {PACKAGES[command]}")
    return found


def require_root(reason: str) -> None:
    """Skip a test if this user is not root, in CI too, because no package can change that."""
    if os.geteuid() != 0:
        pytest.skip(f"{reason}: run this test as root")


def give_up(reason: str) -> NoReturn:
    """Skip a test because something is missing. In CI, where it can be installed, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    # A laptop need not have everything: pytest reports the skipped tests, and CI runs them.
    pytest.skip(reason)
