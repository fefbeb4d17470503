"""Rendered files pass the tools that read them. Each distinct file is checked once."""

import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from scripts.check_template import ROOT
from scripts.projects import python_in
from tests.support.commands import run
from tests.support.rendering import backend, files
from tests.support.variants import variants

SCHEMAS = {
    ".github/workflows/*.yml": "vendor.github-workflows",
    ".github/dependabot.yml": "vendor.dependabot",
    ".github/ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
    ".github/ISSUE_TEMPLATE/bug.yml": "vendor.github-issue-forms",
    ".github/ISSUE_TEMPLATE/idea.yml": "vendor.github-issue-forms",
    "docker-compose*.yml": "vendor.compose-spec",
    "compose.production.yml": "vendor.compose-spec",
}


@pytest.fixture(scope="module")
def projects(rendered_once: Callable[[Mapping[str, str]], Path]) -> list[Path]:
    """Return the rendered projects of all variants."""
    return [rendered_once(row) for row in variants().values()]


def distinct(projects: list[Path], pattern: str) -> list[Path]:
    """Return one file per distinct content of a pattern, from all variants and the template."""
    folders = [ROOT, *projects, *map(backend, projects)]
    found = {file.read_bytes(): file for folder in folders for file in folder.glob(pattern)}
    assert found, pattern
    return sorted(found.values())


@pytest.mark.parametrize(("pattern", "schema"), SCHEMAS.items())
def test_files_follow_their_schemas(projects: list[Path], pattern: str, schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    run([*command, *distinct(projects, pattern)], ROOT)


def test_pre_commit_configuration_is_valid(projects: list[Path]) -> None:
    configs = distinct(projects, ".pre-commit-config.yaml")
    run([sys.executable, "-m", "pre_commit", "validate-config", *configs], ROOT)


def test_zizmor_finds_nothing_in_the_workflows(projects: list[Path]) -> None:
    # `uv run --with` installs it in another folder than this Python, but on the path.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    zizmor = shutil.which("zizmor", path=path)
    assert zizmor
    for pattern in (".github/workflows/*.yml", ".github/dependabot.yml", ".pre-commit-config.yaml"):
        run([zizmor, "--offline", "--strict-collection", *distinct(projects, pattern)], ROOT)


def test_hadolint_finds_nothing_in_the_dockerfiles(projects: list[Path]) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    run([hadolint, "--no-color", *distinct(projects, "Dockerfile")], ROOT)


@pytest.fixture(scope="module")
def python(projects: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with the dependencies of the projects."""
    folder = tmp_path_factory.mktemp("venv")
    return install(distinct(projects, "requirements-dev.txt")[0], folder)


def test_mypy_finds_nothing(projects: list[Path], python: Path, tmp_path: Path) -> None:
    by_python = {
        frozenset(it for it in files(folder).items() if it[0].endswith(".py")): folder
        for folder in map(backend, projects)
    }
    for folder in by_python.values():
        run([python, "-m", "mypy", f"--cache-dir={tmp_path / 'cache'}"], folder)


def test_pyright_finds_nothing(projects: list[Path], python: Path) -> None:
    # Pylance in VS Code shows these errors. Variants only differ in the defaults of settings.
    pyright = [sys.executable, "-m", "pyright", "--pythonpath"]
    run([*pyright, python, "app", "tests"], backend(projects[0]))


def test_template_uses_the_lint_rules_of_generated_projects(projects: list[Path]) -> None:
    own, generated = (
        tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
        for folder in (ROOT, backend(projects[0]))
    )
    assert own["line-length"] == generated["line-length"]
    for key in ("select", "ignore"):
        assert without_docstrings(own["lint"][key]) == generated["lint"][key]
    for pattern, rules in generated["lint"]["per-file-ignores"].items():
        if not pattern.endswith(".py"):  # settings.py contains Jinja, and is linted after rendering
            ours = own["lint"]["per-file-ignores"][f"template/*/{pattern}"]
            assert without_docstrings(ours) == rules


def without_docstrings(rules: list[str]) -> list[str]:
    """Return rules without those of pydocstyle, which projects need not follow."""
    return [rule for rule in rules if not re.fullmatch(r"D\d*", rule)]


def install(requirements: Path, folder: Path) -> Path:
    """Install a project's requirements in a new environment, and return its Python."""
    uv = [sys.executable, "-m", "uv"]
    run([*uv, "venv", "--quiet", "--python", sys.executable, folder], ROOT)
    python = python_in(folder)
    run([*uv, "pip", "install", "--quiet", "--python", python, "-r", requirements], ROOT)
    return python
