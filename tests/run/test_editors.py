"""The configurations of VS Code's debugger."""

import json
from pathlib import Path
from typing import Final

from scripts.projects import project_environment, python_of
from tests.support.commands import run

# For each module, an argument with which it checks its other arguments, and ends.
CHECK: Final = {"app": "--help", "pytest": "--collect-only"}


def test_configurations_start_programs_of_the_project(project: Path) -> None:
    text = (project / ".vscode/launch.json").read_text(encoding="utf-8")
    configurations = json.loads(text)["configurations"]
    assert [it["name"] for it in configurations] == ["dev", "tests in this file", "worker"]
    for it in configurations:
        arguments = [arg.replace("${file}", "tests/api/test_login.py") for arg in it["args"]]
        command = [python_of(project), "-m", it["module"], *arguments, CHECK[it["module"]]]
        run(command, project, project_environment())
