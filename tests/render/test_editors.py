"""The settings for VS Code and the development container, in each variant."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.check_template import load_config
from tests.support.rendering import backend, release
from tests.support.variants import answers

INSTALLERS = {"uv": "pipx install uv && ", "poetry": "pipx install poetry && ", "pip": ""}


def load(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def test_settings_point_to_the_backend(project: Path) -> None:
    settings = load(project / ".vscode/settings.json")
    workspace = "${workspaceFolder}"
    folder = Path(settings["python.testing.cwd"].replace(workspace, str(project)))
    assert folder == backend(project)
    assert (folder / settings["python.testing.pytestArgs"][0]).is_dir()
    interpreter = settings["python.defaultInterpreterPath"].replace(workspace, str(project))
    assert Path(interpreter) == folder / ".venv"
    for configuration in load(project / ".vscode/launch.json")["configurations"]:
        assert Path(configuration["cwd"].replace(workspace, str(project))) == folder


def test_container_is_named_after_the_project_and_installs_it(
    row: Mapping[str, str], project: Path
) -> None:
    container = load(project / ".devcontainer/devcontainer.json")
    default = load_config(release())["project_name"]["default"]
    assert container["name"] == answers(row).get("project_name", default)
    assert container["image"].endswith(f":{row['python_version']}")
    install = INSTALLERS[row["package_manager"]] + "make install"
    assert container["postCreateCommand"] == install
    recommended = load(project / ".vscode/extensions.json")["recommendations"]
    assert container["customizations"]["vscode"]["extensions"] == recommended
