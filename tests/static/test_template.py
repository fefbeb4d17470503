"""The template's own files, and the program that checks them."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from copier import Settings, run_copy
from jinja2 import Environment
from jinja2.nodes import TemplateData

from scripts import check_template
from scripts.check_template import BACKEND, ROOT, TEMPLATE
from scripts.example import BRANCH
from tests.support.markdown import broken_links
from tests.support.rendering import add_move, example_move, without_moves
from tests.support.tools import PACKAGES
from tests.support.variants import questions


@pytest.mark.parametrize("check", check_template.CHECKS)
def test_template_passes_its_own_checks(check: check_template.Check) -> None:
    assert list(check(ROOT)) == []


def test_readme_lists_every_question() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    questions = [
        name
        for name, question in check_template.load_config(ROOT).items()
        if name[0] != "_" and question.get("when") is not False
    ]
    assert re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE) == questions


COLUMNS = 80
# Copier shows a question after a microphone, two columns wide, and a space. It shows a choice after
# an arrow and spaces.
MARGIN = 3
VALIDATION_ERROR = "Validation error for question '{}': "


def lines_seen(name: str, question: dict[str, Any]) -> Iterator[str]:
    """Yield each line of a question as Copier shows it: help, choices and validation errors."""
    choices = question.get("choices", ())
    for text in (*question["help"].splitlines(), *choices):
        yield " " * MARGIN + text
    # The texts between Jinja tags: one for each branch of the validator.
    for node in (
        Environment(autoescape=True).parse(question.get("validator", "")).find_all(TemplateData)
    ):
        yield VALIDATION_ERROR.format(name) + node.data.strip()


@pytest.mark.parametrize(("name", "question"), questions().items(), ids=questions())
def test_question_fits_in_a_terminal(name: str, question: dict[str, Any]) -> None:
    lines = list(lines_seen(name, question))
    assert ("validator" in question) == any(line.startswith("Validation") for line in lines)
    assert all(line.isascii() for line in lines)
    assert [line for line in lines if len(line) > COLUMNS] == []


def test_message_fits_in_a_terminal() -> None:
    config = check_template.load_config(ROOT)
    for name in ("_message_after_copy", "_message_after_update"):
        lines = re.sub(r"{[{%].*?[%}]}", "", config[name]).splitlines()
        assert [line for line in lines if len(line) > COLUMNS] == []


def test_copier_shows_a_validation_error_as_the_test_expects(tmp_path: Path) -> None:
    shutil.copy(ROOT / "copier.yml", tmp_path)
    (tmp_path / TEMPLATE).mkdir()
    answers = {"frontend_origin": "https://example.com/path"}
    with pytest.raises(ValueError, match="Leave out") as raised:
        run_copy(str(tmp_path), tmp_path / "new", answers, defaults=True, settings=Settings())
    question = questions()["frontend_origin"]
    assert str(raised.value) in set(lines_seen("frontend_origin", question))


def test_files_of_the_owner_are_skipped_by_copy_and_by_update() -> None:
    config = check_template.load_config(ROOT)
    skipped, excluded = (
        {re.sub(r"{%.*?%}", "", it) for it in config[name] if "monorepo" in it}
        for name in ("_skip_if_exists", "_exclude")
    )
    assert skipped == excluded
    assert skipped
    for name in skipped:
        assert name.removeprefix("/") in config["_message_after_copy"]


def test_links_in_the_pages_of_the_template_are_valid() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    # This one leads to a branch on GitHub, whose address the page does not know.
    branch = f"README.md: ../../tree/{BRANCH} leads to no file here"
    assert list(broken_links(ROOT, pages)) == [branch]


def test_commands_of_the_page_for_agents_are_targets() -> None:
    page, makefile = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("AGENTS.md", "Makefile")
    )
    block = page.partition("```sh\n")[2].partition("```")[0]
    targets = {f"make {it}" for it in re.findall(r"^([a-z-]+):.* ##", makefile, re.MULTILINE)}
    assert block
    assert set(block.splitlines()) <= targets
    assert (ROOT / "CLAUDE.md").read_text(encoding="utf-8") == "@AGENTS.md\n"


def test_generated_workflows_use_the_actions_of_the_template() -> None:
    pinned = re.compile(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+")
    own = "".join(it.read_text(encoding="utf-8") for it in ROOT.glob(".github/workflows/*.yml"))
    generated = pinned.findall((ROOT / "actions.jinja").read_text(encoding="utf-8"))
    assert generated
    assert set(generated) <= set(pinned.findall(own))


def test_ci_installs_the_packages_that_the_last_tier_requires() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    packages = re.findall(r"\bpackages\+?=\((.*)\)$", script, re.MULTILINE)
    assert set(" ".join(packages).split()) == set(PACKAGES.values())


# The files of the template that the checks need.
SLICE = (check_template.ANSWERS_FILE, f"{BACKEND}/Makefile.jinja", f"{BACKEND}/app/main.py")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of some files of the template, which a test may break."""
    config = (ROOT / "copier.yml").read_text(encoding="utf-8")
    (tmp_path / "copier.yml").write_text(without_moves(config), encoding="utf-8")
    for name in SLICE:
        (tmp_path / TEMPLATE / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / TEMPLATE / name, tmp_path / TEMPLATE / name)
    return tmp_path


def faults(root: Path) -> str:
    return "\n".join(fault for check in check_template.CHECKS for fault in check(root))


@pytest.mark.parametrize(
    ("addition", "fault"),
    [
        ("_tasks: [make]", "_tasks is not a setting"),
        ("_jinja_extensions: [x.Y]", "_jinja_extensions is not a setting"),
        ("_color: {type: str, default: red}", "_color is not a setting"),
        ("late: {type: str, default: x, help: y}", "late is asked after "),
        ("bare: x", "bare needs a type"),
        ("silent: {type: str, default: x}", "silent has no help"),
        ("untyped: {default: x, help: y}", "untyped has no type"),
        ("maybe: {type: bool, default: false, help: y}", "maybe is no str"),
        ("wrong: {type: str, default: x, help: y, choices: [a]}", "Invalid choice for 'wrong'"),
        (
            "\n".join(f"more{n}: {{type: str, default: x, help: y}}" for n in range(10)),
            "people bear 10",
        ),
    ],
)
def test_faulty_question_is_found(copy: Path, addition: str, fault: str) -> None:
    with (copy / "copier.yml").open("a", encoding="utf-8") as file:
        file.write(f"\n{addition}\n")
    assert fault in faults(copy)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("v2.0.0", "v2.1.0"), "no major version"),
        (("move.py", "copy.py"), "not by {{ _copier_python }}"),
        (("app/main.py", "app/other.py"), "which the template does not have"),
        (("{{ backend_dir }}/app/main.py", "app/main.py"), "which the template does not have"),
        (("app/old.py", "app/main.py"), "the template still has it"),
        (('"{{ backend_dir }}/app/old.py", ', ""), "write each of _migrations like"),
        ((', "{{ backend_dir }}/app/old.py", "{{ backend_dir }}/app/main.py"', ""), "write each"),
    ],
)
def test_faulty_move_is_found(copy: Path, change: tuple[str, str], fault: str) -> None:
    line = example_move(copy).replace("app/new.py", "app/main.py")
    before = (copy / "copier.yml").read_text(encoding="utf-8")
    add_move(copy, line)
    assert faults(copy) == ""
    (copy / "copier.yml").write_text(before, encoding="utf-8")
    add_move(copy, line.replace(*change))
    assert fault in faults(copy)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        (f"{BACKEND}/app/x.py.jinja", "{{ x }}", "only app/core/settings.py.jinja"),
        (f"{BACKEND}/x.py.jinja", "{{ x }}" * 1000, "Jinja blocks in"),
        (f"{BACKEND}/x.py", "def", "x.py: "),
        (f"{BACKEND}/x.toml", "x", "x.toml: "),
        (f"{BACKEND}/x.yml", "{", "x.yml: "),
        (f"{BACKEND}/{{% if x %}}x.json{{% endif %}}", "{", "x.json{% endif %}: "),
    ],
)
def test_faulty_file_is_found(copy: Path, name: str, text: str, fault: str) -> None:
    (copy / TEMPLATE / name).write_text(text, encoding="utf-8")
    assert fault in faults(copy)


@pytest.mark.parametrize(
    ("paths", "fault"),
    [
        (['{{ "x" }}.txt'], "Windows can't have a file"),
        (["a:b"], "Windows can't have a file"),
        (["aux.py"], "Windows can't have a file"),
        (["end."], "Windows can't have a file"),
        (["Makefile.jinja", "makefile.jinja"], "where case does not count"),
        (["a/x.py", "a/x.py.jinja"], "once rendered"),
    ],
)
def test_faulty_path_is_found(paths: list[str], fault: str) -> None:
    (found,) = check_template.path_faults(map(PurePosixPath, paths))
    assert fault in found


def test_missing_answers_file_is_found(copy: Path) -> None:
    (copy / TEMPLATE / check_template.ANSWERS_FILE).unlink()
    assert "no project could be updated" in faults(copy)


def test_check_prints_its_faults_and_fails(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_template.main(copy) == 0
    assert capsys.readouterr().out == ""
    (copy / TEMPLATE / "aux").touch()
    assert check_template.main(copy) == 1
    assert capsys.readouterr().out == "template/aux: Windows can't have a file named aux\n"
