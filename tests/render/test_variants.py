"""The rendered files of every variant."""

import ast
import datetime
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from scripts.check_template import BACKEND, PARSERS, ROOT, TEMPLATE
from tests.render.listing import expected_files
from tests.support.commands import COPIER, run
from tests.support.markdown import broken_links, code
from tests.support.rendering import RELEASE, backend, data, files, release
from tests.support.variants import HOSTILE, TEXTS, Answers, answers, variants

ANSWERS_FILE = ".copier-answers.yml"
VARIANTS = variants()
VARIANTS_BY_TEXT = {row[TEXTS]: row for row in VARIANTS.values()}
# Jinja, but not GitHub's expressions, which look similar.
JINJA = re.compile(r"(?<!\$)\{\{|\{%|\{#")
CONFLICT = re.compile(r"^(<{7}|>{7}|\|{7})( |$)", re.MULTILINE)
# Blank lines that an empty condition leaves. Python code may have two of them, in pages too.
HOLE = re.compile(r"\A\n|\n\n\n|\n\n\Z")
PYTHON_BLOCK = re.compile(r"^```python\n.*?^```$", re.MULTILINE | re.DOTALL)


def is_plain(name: str) -> bool:
    """Return whether a rendered file is an unchanged file of the template."""
    template = ROOT / TEMPLATE
    part = name.removeprefix("backend/")
    return (template / name).exists() or (template / BACKEND / part).exists()


def test_rendered_files_match_the_listing(row: Mapping[str, str], project: Path) -> None:
    rendered, listed = set(files(project)), expected_files(row)
    assert rendered - listed == set(), "these are not in listing.yml"
    assert listed - rendered == set(), "these are in listing.yml only"


def test_second_render_is_the_same(
    row: Mapping[str, str], project: Path, rendered: Callable[[Answers], Path]
) -> None:
    assert files(rendered(answers(row))) == files(project)


@pytest.mark.parametrize("row", VARIANTS_BY_TEXT.values(), ids=VARIANTS_BY_TEXT)
def test_copier_copy_on_the_command_line_renders_the_same(
    row: Mapping[str, str], rendered_once: Callable[[Mapping[str, str]], Path], tmp_path: Path
) -> None:
    command = [*COPIER, "copy", "--defaults", "--quiet", *data(answers(row))]
    run([*command, release(), tmp_path / "again"], tmp_path)
    assert files(tmp_path / "again") == files(rendered_once(row))


def test_every_file_parses(project: Path) -> None:
    for name, content in files(project).items():
        if parse := PARSERS.get(Path(name).suffix):
            try:
                parse(content.decode())
            except (SyntaxError, ValueError, yaml.YAMLError) as error:
                pytest.fail(f"{name}: {error}")


def test_rendered_files_contain_no_traces_of_rendering(
    row: Mapping[str, str], project: Path
) -> None:
    for name, content in files(project).items():
        assert not re.search(r"[{}]|\.(jinja|rej|orig)$", name)
        text = content.decode()
        assert not CONFLICT.search(text), name
        if not is_plain(name):
            if not name.endswith(".py"):
                assert not HOLE.search(PYTHON_BLOCK.sub("…", text)), f"{name}: too many blank lines"
            # Hostile texts look like Jinja. The plain texts are in the same places.
            assert row[TEXTS] == "hostile" or not JINJA.search(text), name


def test_rendered_files_contain_no_local_paths_and_no_date(project: Path) -> None:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    for name, content in files(project).items():
        # The answers file contains the path of the template, which updates need.
        text = re.sub(r"^_src_path: .*", "", content.decode(), flags=re.MULTILINE)
        for trace in (ROOT, release(), project.parent, Path.cwd(), Path.home(), today):
            assert str(trace) not in text, name


def test_answers_file_is_at_the_root(row: Mapping[str, str], project: Path) -> None:
    recorded = yaml.safe_load((project / ANSWERS_FILE).read_text(encoding="utf-8"))
    assert recorded["_commit"] == RELEASE
    assert recorded["_src_path"] == str(release())
    assert recorded.items() >= answers(row).items()


def test_ruff_finds_nothing(project: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        run([sys.executable, "-m", "ruff", *command, "--no-cache"], backend(project))


def test_links_in_rendered_pages_are_valid(project: Path) -> None:
    assert list(broken_links(project, sorted(project.rglob("*.md")))) == []


def test_pages_name_existing_make_targets(project: Path) -> None:
    for page in sorted(project.rglob("*.md")):
        folder = next(it for it in page.parents if (it / "Makefile").exists())
        for text in code(page):
            lines = re.findall(r"^make(?: -C (\w+))?((?: [a-z-]+(?![\w=]))+)", text, re.MULTILINE)
            for part, targets in lines:
                # With a folder, the command is for the root of the repository.
                known = make_targets((project if part else folder) / part / "Makefile")
                assert set(targets.split()) <= known, f"{page.name}: make{targets}"


def make_targets(makefile: Path) -> set[str]:
    """Return the targets that a Makefile lists."""
    text = makefile.read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):.*##", text, re.MULTILINE))


def test_hostile_texts_are_rendered_unchanged(row: Mapping[str, str], project: Path) -> None:
    expected = (
        HOSTILE
        if row[TEXTS] == "hostile"
        else yaml.safe_load((project / ANSWERS_FILE).read_text(encoding="utf-8"))
    )
    pyproject = tomllib.loads((backend(project) / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["description"] == expected["project_description"]
    settings = ast.parse((backend(project) / "app/core/settings.py").read_text(encoding="utf-8"))
    constants = {
        ast.unparse(node.target): node.value
        for node in settings.body
        if isinstance(node, ast.AnnAssign) and node.value is not None
    }
    assert ast.literal_eval(constants["PROJECT_NAME"]) == expected["project_name"]
    for folder in {project, backend(project)}:
        assert expected["project_name"] in (folder / "README.md").read_text(encoding="utf-8")
