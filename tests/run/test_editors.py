"""The configurations of VS Code's debugger."""

import json
from pathlib import Path
from typing import Final

from scripts.projects import project_environment, python_of
from tests.support.commands import run
from tests.support.servers import free_port, started, wait_until

NAMES: Final = ["dev", "tests in this file", "worker"]


def test_configurations_run_programs_of_the_project(project: Path, tmp_path: Path) -> None:
    text = (project / ".vscode/launch.json").read_text(encoding="utf-8")
    configurations = json.loads(text)["configurations"]
    assert [it["name"] for it in configurations] == NAMES
    dev, tests, worker = (
        [
            python_of(project),
            "-m",
            it["module"],
            *(arg.replace("${file}", "tests/api/test_health.py") for arg in it["args"]),
        ]
        for it in configurations
    )
    environment = project_environment(PORT=str(free_port()))
    with started(dev, project, environment, tmp_path / "dev.log") as server:
        server.wait_until_ready()
        assert " passed" in run(tests, project, environment)
        with started(worker, project, environment, tmp_path / "worker.log") as process:
            wait_until(lambda: "worker_started" in process.output(), process.output)
