"""Rendered projects on this machine: which Python they get, and which environment."""

import os
import re
import sys
from pathlib import Path
from typing import Final

from hooks.check_template import BACKEND, ROOT, TEMPLATE, load_config

# A variable of this process that would lead a project's own tools astray.
FOREIGN: Final = re.compile(
    r"(COV|PYTEST|UV_PROJECT)_.*|PYTHON.*|MAKE(FLAGS|LEVEL|FILES)|MFLAGS|VIRTUAL_ENV"
)


def python_answer() -> str:
    """Give the answer for the Python at hand; the newest on offer for one that is newer still."""
    choices = [str(choice) for choice in load_config(ROOT)["python_version"]["choices"]]
    at_hand = f"{sys.version_info.major}.{sys.version_info.minor}"
    return at_hand if at_hand in choices else choices[-1]


def project_environment(**settings: str) -> dict[str, str]:
    """Give the environment for a project's commands: this one, with uv and the Python at hand.

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
    tools = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([tools, environment.get("PATH", os.defpath)])
    environment["UV_PYTHON"] = sys.executable
    return environment | settings


def python_of(project: Path) -> Path:
    """Give the Python of an installed project."""
    return python_in(project / ".venv")


def python_in(venv: Path) -> Path:
    """Give the Python of a virtual environment."""
    return venv / ("Scripts" if os.name == "nt" else "bin") / "python"
