"""The Python and the environment of rendered projects on this machine."""

import getpass
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from scripts.check_template import BACKEND, ROOT, TEMPLATE, load_config

# Variables of this process that would confuse a project's own tools.
FOREIGN: Final = re.compile(
    r"(COV|PYTEST|UV_PROJECT)_.*|PYTHON.*|MAKE(FLAGS|LEVEL|FILES)|MFLAGS|VIRTUAL_ENV"
)


def python_answer() -> str:
    """Return the `python_version` for this Python, or the newest choice if this one is newer."""
    choices = [str(choice) for choice in load_config(ROOT)["python_version"]["choices"]]
    at_hand = f"{sys.version_info.major}.{sys.version_info.minor}"
    return at_hand if at_hand in choices else choices[-1]


def find_python(version: str) -> Path | None:
    """Return a Python of a version, such as 3.12, on this machine or downloaded by uv.

    Return None if there is none.
    """
    if version == python_answer():
        return Path(sys.executable)
    # The Pythons of pyenv are not on the path, and HOME may not be the user's home.
    homes = [os.environ.get("PYENV_ROOT", "~/.pyenv"), f"~{getpass.getuser()}/.pyenv"]
    found = [it for home in homes for it in Path(home).expanduser().glob("versions/*/bin")]
    path = os.pathsep.join([*map(str, found), os.environ.get("PATH", os.defpath)])
    uv = [sys.executable, "-m", "uv", "python"]
    environment = os.environ | {"PATH": path, "UV_HTTP_RETRIES": "0"}
    for command in ("find", "install", "find"):
        downloads = [] if command == "install" else ["--no-python-downloads"]
        result = subprocess.run(
            [*uv, command, *downloads, version],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        if command == "find" and result.returncode == 0:
            return Path(result.stdout.strip())
    return None


def project_environment(python: Path | None = None, **settings: str) -> dict[str, str]:
    """Return the environment for a project's commands: the current one, with uv and a Python.

    python: the Python to use; by default, the current one. settings: the project's settings. Other
    settings of the current environment, such as a DATABASE_URL, are removed.
    """
    example = ROOT / TEMPLATE / BACKEND / "env.example.jinja"
    names = set(re.findall(r"^(?:# )?([A-Z_]+)=", example.read_text(encoding="utf-8"), re.M))
    names |= {f"TEST_{name}" for name in names}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in names and not FOREIGN.fullmatch(name)
    }
    python = python or Path(sys.executable)
    # The project's Python comes first, for commands that run python3. Then come our tools.
    folders = [str(python.parent), str(Path(sys.executable).parent)]
    environment["PATH"] = os.pathsep.join([*folders, environment.get("PATH", os.defpath)])
    environment["UV_PYTHON"] = str(python)
    return environment | settings


def python_of(project: Path) -> Path:
    """Return the Python of an installed project."""
    return python_in(project / ".venv")


def python_in(venv: Path) -> Path:
    """Return the Python of a virtual environment."""
    return venv / ("Scripts" if os.name == "nt" else "bin") / "python"
