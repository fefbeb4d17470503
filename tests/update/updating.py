"""The command `template-update` as a project runs it."""

import os
import sys
from pathlib import Path

from scripts.check_template import ROOT
from tests.support.commands import run


def template_update(project: Path, *arguments: str, code: Path = ROOT, exit_code: int = 0) -> str:
    """Run the command in a project, and return its output.

    code: the folder of the command's package, by default this work tree.
    """
    environment = os.environ | {"PYTHONPATH": str(code)}
    command = [sys.executable, "-m", "template_update.cli", *arguments]
    return run(command, project, environment, exit_code=exit_code)
