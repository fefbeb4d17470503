"""The tested variants: the rows of `variants.csv`, which contain every pair of answers.

An error of the template depends on one answer or on a pair, and hardly ever on three. Therefore
these rows represent all combinations. `TEMPLATE_VARIANTS=all` tests all of them, once a week.
"""

import csv
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from scripts.check_template import ROOT, load_config

Answers = Mapping[str, str]

TABLE: Final = Path(__file__).with_name("variants.csv")
# The rows that are installed and run. Every answer is in one of them. Two workers run two each.
RUN: Final = (
    "backend-pip-3.12-strict-docker-hostile",  # the slowest
    "monorepo-uv-3.14-strict-fly-hostile",
    "monorepo-poetry-3.11-none-render-hostile",
    "backend-uv-3.13-lax-railway-plain",
)
# The column that represents all questions with a free text as the answer.
TEXTS: Final = "texts"

# All characters that could end a string, a line, a comment or a template in some language.
HOSTILE: Final = {
    "project_name": """It's: \"\"\"A\"\"\" #1: 🚀 {{ x }} {% y %} \\n $HOME ${{ z }}""",
    "project_slug": "a0" + "-b" * 19,  # the maximum length
    "project_description": """"Ünser" <b>#1</b>: it's {{ x }} {# y #} `id` $(id) %s ''' -- \\""",
    "frontend_origin": "https://xn--bcher-kva.example.com:65535",
}
TEXT_ANSWERS: Final[Mapping[str, Answers]] = {"plain": {}, "hostile": HOSTILE}


def questions() -> dict[str, dict[str, Any]]:
    """Return the questions that Copier asks, by name."""
    return {
        name: question
        for name, question in load_config(ROOT).items()
        if name[0] != "_" and question.get("when") is not False
    }


def columns() -> dict[str, list[str]]:
    """Return the possible values of each column: the choices, and the two kinds of text."""
    offered = {
        name: choices(question) for name, question in questions().items() if "choices" in question
    }
    return offered | {TEXTS: list(TEXT_ANSWERS)}


def choices(question: Mapping[str, Any]) -> list[str]:
    """Return the possible answers to a question, without the texts that people see."""
    offered = question["choices"]
    return [str(choice) for choice in (offered.values() if isinstance(offered, dict) else offered)]


def all_are_wanted() -> bool:
    """Return whether all combinations are to be tested."""
    return os.environ.get("TEMPLATE_VARIANTS") == "all"


def rows() -> list[dict[str, str]]:
    """Return the rows of the table, or all possible rows."""
    if all_are_wanted():
        names = columns()
        return [dict(zip(names, row, strict=True)) for row in itertools.product(*names.values())]
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pairs(row: Mapping[str, str]) -> Iterable[tuple[tuple[str, str], ...]]:
    """Return every pair of answers in a row."""
    return itertools.combinations(sorted(row.items()), 2)


def answers(row: Mapping[str, str]) -> Answers:
    """Return a row as answers to the template's questions."""
    chosen = {name: answer for name, answer in row.items() if name != TEXTS}
    return {**chosen, **TEXT_ANSWERS[row[TEXTS]]}


def variants() -> dict[str, dict[str, str]]:
    """Return the rows by readable name."""
    return {"-".join(row.values()): row for row in rows()}


def variants_to_run() -> dict[str, dict[str, str]]:
    """Return the rows that are installed and run, by name."""
    found = variants()
    if all_are_wanted():
        return found
    assert found.keys() >= set(RUN), f"RUN names rows that are not in {TABLE.name}: {RUN}"
    return {name: found[name] for name in RUN}
