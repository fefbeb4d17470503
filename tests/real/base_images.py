"""The base images of the project's files: present, pulled, or built from Debian packages."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from scripts.check_template import ROOT
from tests.real.docker import SCRIPTS, STORE
from tests.support.commands import run
from tests.support.installing import POETRY_INDEX, dependency
from tests.support.tools import give_up, require

PYTHON: Final = "3.13"  # the version of Debian trixie, from which the images are built
BASE: Final = f"docker.io/library/python:{PYTHON}-slim"
UV: Final = f"ghcr.io/astral-sh/uv:{dependency('uv_image')}"
CADDY: Final = "docker.io/library/caddy:2"
POSTGRES: Final = "pgvector/pgvector:pg18"
WITH_POETRY: Final = "localhost/template-tests-with-poetry"
# The stages of bases/Dockerfile.
STAGES: Final = {
    BASE: "python",
    UV: "uv",
    CADDY: "caddy",
    POSTGRES: "postgres",
    WITH_POETRY: "python-with-poetry",
}
MADE_HERE: Final = "template-tests.made-here"


def provide(*images: str) -> None:
    """Provide images to the Docker engine. Build those that are missing and cannot be pulled."""
    for image in images:
        if _docker("image", "inspect", image).returncode != 0:
            pulled = _docker("pull", "--quiet", image)
            if pulled.returncode != 0:
                _make(image, pulled.stderr.strip())


def are_made_here() -> bool:
    """Return whether the base images were built from Debian packages, because of failed pulls."""
    label = f'{{{{index .Config.Labels "{MADE_HERE}"}}}}'
    return _docker("image", "inspect", f"--format={label}", BASE).stdout.strip() == "true"


def _make(image: str, reason: str) -> None:
    if not shutil.which("apt-get"):
        give_up(f"{image} cannot be pulled, and making it needs Debian: {reason}")
    require("debootstrap")
    context = STORE / "context"
    if not (context / "debian.tar").exists():
        context.mkdir(parents=True, exist_ok=True)
        run([SCRIPTS / "debian.sh", STORE / "debian"], ROOT)
        run(["tar", "-C", STORE / "debian", "-cf", context / "debian.tar.new", "."], ROOT)
        shutil.rmtree(STORE / "debian")
        (context / "debian.tar.new").rename(context / "debian.tar")
    for command in ("uv", "uvx"):
        shutil.copy(Path(sys.executable).parent / command, context)
    for script in ("Dockerfile", "postgres.sh"):
        shutil.copy(SCRIPTS / script, context)
    build = ["docker", "build", "--quiet", "--network=host", f"--tag={image}"]
    build += [f"--target={STAGES[image]}", f"--label={MADE_HERE}=true"]
    build += [f"--build-arg=INDEX={POETRY_INDEX['POETRY_PYPI_MIRROR_URL']}"]
    run([*build, "."], context)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, encoding="utf-8")
