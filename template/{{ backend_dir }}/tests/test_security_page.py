"""The security page: no claim without a test, and no test that does not exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (R-\d\d) \| .* \| (.*) \|$", PAGE, re.MULTILINE)


def test_the_table_has_every_requirement_once() -> None:
    assert [requirement for requirement, _ in ROWS] == [f"R-{n:02}" for n in range(1, 77)]


@pytest.mark.parametrize(("requirement", "tests"), ROWS, ids=[row[0] for row in ROWS])
def test_each_requirement_names_tests_that_exist(requirement: str, tests: str) -> None:
    names = re.findall(r"`([^`]+)`", tests)

    assert names, f"{requirement} has no test"
    for name in names:
        path, _, function = name.partition("::")
        tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
        functions = {
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert function in functions, f"{requirement} names {name}, which does not exist"
