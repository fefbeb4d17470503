"""Rendered projects on this machine: which Python they get, and which environment."""

import getpass
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from hooks.check_template import BACKEND, ROOT, TEMPLATE, load_config

# A variable of this process that would lead a project's own tools astray.
FOREIGN: Final = re.compile(
    r"(COV|PYTEST|UV_PROJECT)_.*|PYTHON.*|MAKE(FLAGS|LEVEL|FILES)|MFLAGS|VIRTUAL_ENV"
)


def python_answer() -> str:
    """Return the answer for the Python at hand; the newest on offer for one that is newer still."""
    choices = [str(choice) for choice in load_config(ROOT)["python_version"]["choices"]]
    at_hand = f"{sys.version_info.major}.{sys.version_info.minor}"
    return at_hand if at_hand in choices else choices[-1]


def find_python(version: str) -> Path | None:
    """Return a Python of a version, such as 3.12, of this machine or downloaded by uv.

    None when there is none to be had.
    """
    if version == python_answer():
        return Path(sys.executable)
    # What pyenv has is not on the path; and HOME may be another than the user's.
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
    """Return the environment for a project's commands: this one, with uv and a Python.

    python: the one at hand, unless another is given.

    Whatever else is set here, the project's settings are those given and its defaults: nobody's
    DATABASE_URL is touched.
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
    # The project's Python comes first, for what takes the python3 that it finds; then our tools.
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
