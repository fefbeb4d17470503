"""Installation of package managers for projects that tests install."""

import re
import sys
from pathlib import Path

from pip._internal.models.index import PyPI

from scripts.check_template import ROOT
from tests.support.commands import run

# Poetry requests more from PyPI than other indexes provide. This limits it to what pip requests.
POETRY_INDEX = {"POETRY_PYPI_MIRROR_URL": f"{PyPI.simple_url}/"}


def dependency(name: str) -> str:
    """Return a value that `dependencies.jinja` sets, such as poetry's requirement."""
    text = (ROOT / "dependencies.jinja").read_text(encoding="utf-8")
    (value,) = re.findall(rf'set {name} = "(.*)"', text)
    return str(value)


def install_poetry(folder: Path, python: Path) -> Path:
    """Install the version of Poetry that the generated image has, and return its command."""
    return install(folder, python, dependency("poetry"), "poetry-plugin-pypi-mirror") / "poetry"


def install_pipx(folder: Path, python: Path) -> Path:
    """Install pipx, with which projects without uv run the update, and return its command."""
    return install(folder, python, "pipx") / "pipx"


def install(folder: Path, python: Path, *packages: str) -> Path:
    """Install packages into a new environment, and return the folder of their commands."""
    uv = [sys.executable, "-m", "uv"]
    run([*uv, "venv", "--quiet", "--python", python, folder], ROOT)
    install_into(folder, *packages)
    return folder / "bin"


def install_into(folder: Path, *packages: str) -> None:
    """Install packages into an existing environment."""
    # Not by VIRTUAL_ENV: uv prefers the environment of the Python that starts it.
    uv = [sys.executable, "-m", "uv"]
    run([*uv, "pip", "install", "--quiet", "--python", folder, *packages], ROOT)
