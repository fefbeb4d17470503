"""The command `template-update`, as a project runs it."""

import os
import sys
from pathlib import Path

from hooks.check_template import ROOT
from tests.commands import run


def template_update(project: Path, *arguments: str, exit_code: int = 0) -> str:
    """Run the command of this work tree in a project, and return what it printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "template_update.cli", *arguments]
    return run(command, project, environment, exit_code=exit_code)
