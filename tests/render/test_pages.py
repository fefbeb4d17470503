"""Pages of a generated project: each security claim has a test, and each event is logged."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

from scripts.check_template import ROOT
from tests.support.rendering import backend
from tests.support.variants import Answers

ROW = re.compile(r"^\| (R-\d+) \| .* \| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"(?P<template>template: )?`(?P<path>[\w/]+\.py)::(?P<function>\w+)`")
OWN = ROOT / "tests/project"


def functions(file: Path) -> set[str]:
    """Return the names of the functions of a module."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_each_security_requirement_names_tests_that_exist(
    rendered: Callable[[Answers], Path],
) -> None:
    project = backend(rendered({}))
    rows = ROW.findall((project / "docs/security.md").read_text(encoding="utf-8"))
    # R-77 is a limit, which the page explains under its own heading.
    numbers = (*range(1, 77), *range(78, 109))
    assert [requirement for requirement, _ in rows] == [f"R-{n:02}" for n in numbers]
    for requirement, cell in rows:
        tests = list(TEST.finditer(cell))
        assert len(tests) == len(cell.split("<br>")), requirement
        for test in tests:
            folder = OWN if test["template"] else project / "tests"
            assert test["function"] in functions(folder / test["path"]), requirement


def test_each_event_on_the_operations_page_is_logged(
    rendered: Callable[[Answers], Path],
) -> None:
    project = backend(rendered({}))
    page = (project / "docs/operations.md").read_text(encoding="utf-8")
    named = {
        event
        for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
        for event in re.findall(r"`(\w+)`", row)
    }
    assert len(named) > 5
    sources = [path.read_text(encoding="utf-8") for path in (project / "app").rglob("*.py")]
    assert named <= set(re.findall(r"""["'](\w+)["']""", " ".join(sources)))
