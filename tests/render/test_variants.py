"""What comes out, of every variant."""

import ast
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hooks.check_template import BACKEND, PARSERS, ROOT, TEMPLATE
from tests.commands import COPIER, run
from tests.rendering import HOSTILE, RELEASE, Answers, data, files, release, variants

ANSWERS_FILE = ".copier-answers.yml"
VARIANTS = variants()
# What is no Jinja although it looks like it: GitHub's expressions.
JINJA = re.compile(r"(?<!\$)\{\{|\{%|\{#")
CONFLICT = re.compile(r"^(<{7}|>{7}|\|{7}) ", re.MULTILINE)
SCHEMAS = {
    ".github/workflows/*.yml": "vendor.github-workflows",
    ".github/dependabot.yml": "vendor.dependabot",
    "docker-compose*.yml": "vendor.compose-spec",
}


@pytest.fixture(scope="module")
def rendered_once(rendered: Callable[[Answers], Path]) -> Callable[[str], Path]:
    """Give the function that gives a variant's render, which is not to be changed."""
    renders: dict[str, Path] = {}

    def render_once(variant: str) -> Path:
        if variant not in renders:
            renders[variant] = rendered(VARIANTS[variant])
        return renders[variant]

    return render_once


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(variant: str, rendered_once: Callable[[str], Path]) -> Path:
    return rendered_once(variant)


def is_plain(name: str) -> bool:
    """Say whether a rendered file is a file of the template as it is."""
    return (ROOT / TEMPLATE / BACKEND / name).exists()


def test_copier_copy_without_trust_renders_the_same_again(
    variant: str, project: Path, tmp_path: Path
) -> None:
    command = [*COPIER, "copy", "--defaults", "--quiet", *data(VARIANTS[variant])]
    run([*command, release(), tmp_path / "again"], tmp_path)
    assert files(tmp_path / "again") == files(project)


def test_every_file_parses(project: Path) -> None:
    for name, content in files(project).items():
        if parse := PARSERS.get(Path(name).suffix):
            try:
                parse(content.decode())
            except (SyntaxError, ValueError, yaml.YAMLError) as error:
                pytest.fail(f"{name}: {error}")


def test_nothing_of_the_rendering_is_left(variant: str, project: Path) -> None:
    for name, content in files(project).items():
        assert not re.search(r"[{}]|\.(jinja|rej|orig)$", name)
        text = content.decode()
        assert not CONFLICT.search(text), name
        # Hostile texts look like Jinja, and stand where harmless ones do.
        if variant != "hostile" and not is_plain(name):
            assert not JINJA.search(text), name


def test_no_path_of_this_machine_comes_out(project: Path) -> None:
    for name, content in files(project).items():
        # The answers file holds where the template was, or it could not be updated.
        text = re.sub(r"^_src_path: .*", "", content.decode(), flags=re.MULTILINE)
        for path in (ROOT, release(), project.parent, Path.cwd()):
            assert str(path) not in text, name


def test_answers_file_stands_at_the_root(variant: str, project: Path) -> None:
    answers = yaml.safe_load((project / ANSWERS_FILE).read_text(encoding="utf-8"))
    assert answers["_commit"] == RELEASE
    assert answers["_src_path"] == str(release())
    assert answers.items() >= VARIANTS[variant].items()


def test_ruff_finds_nothing(project: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        run([sys.executable, "-m", "ruff", *command, "--no-cache"], project)


def test_files_follow_their_schemas(project: Path) -> None:
    for pattern, schema in SCHEMAS.items():
        if found := sorted(project.glob(pattern)):
            command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
            run([*command, *found], project)


def test_hostile_texts_come_through_as_they_are(rendered_once: Callable[[str], Path]) -> None:
    project = rendered_once("hostile")
    pyproject = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["description"] == HOSTILE["project_description"]
    settings = ast.parse((project / "app/core/settings.py").read_text(encoding="utf-8"))
    constants = {
        ast.unparse(node.target): node.value
        for node in settings.body
        if isinstance(node, ast.AnnAssign) and node.value is not None
    }
    assert ast.literal_eval(constants["PROJECT_NAME"]) == HOSTILE["project_name"]
    assert HOSTILE["project_name"] in (project / "README.md").read_text(encoding="utf-8")


def test_deploy_files_follow_the_answer(rendered_once: Callable[[str], Path]) -> None:
    railway = set(files(rendered_once("defaults")))
    docker = set(files(rendered_once("deploy_target-docker")))
    assert railway - docker == {"railway.json"}
    assert docker - railway == set()


def test_template_is_linted_by_the_rules_of_what_it_generates(
    rendered_once: Callable[[str], Path],
) -> None:
    own, generated = (
        tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
        for folder in (ROOT, rendered_once("defaults"))
    )
    assert own["line-length"] == generated["line-length"]
    for key in ("select", "ignore"):
        assert own["lint"][key] == generated["lint"][key]
    for pattern, rules in generated["lint"]["per-file-ignores"].items():
        if not pattern.endswith(".py"):  # settings.py has Jinja in it, and is linted when rendered
            assert own["lint"]["per-file-ignores"][f"template/*/{pattern}"] == rules
