"""Programs that the tests of this tier need, and that no Python package brings."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

# By command, the package of Debian and Ubuntu; `.ci/run` installs them all.
PACKAGES: Final = {
    "buildah": "buildah",
    "caddy": "caddy",
    "debootstrap": "debootstrap",
    "nginx": "nginx",
    "pgbouncer": "pgbouncer",
    "podman": "podman",
}
# Debian keeps servers out of the path of users.
PATH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def require(command: str) -> Path:
    """Give where a program is. Where it is missing, skips the test by name; in CI, fails it."""
    found = shutil.which(command, path=PATH)
    if found is not None:
        return Path(found)
    reason = f"there is no {command} here: apt-get install {PACKAGES[command]}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
