"""The variants that are proven: the rows of `variants.csv`, in which every two answers meet.

A fault of the template sits in one answer or in two that meet, hardly ever in three; so these few
rows stand for the full cross product, which `TEMPLATE_VARIANTS=all` gives, for once a week.
"""

import csv
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from hooks.check_template import ROOT, load_config

Answers = Mapping[str, str]

TABLE: Final = Path(__file__).with_name("variants.csv")
# The rows that are installed and run: every answer is in one of them. Two workers take two each.
RUN: Final = (
    "backend-pip-3.12-strict-docker-hostile",  # the slowest
    "monorepo-uv-3.14-strict-fly-hostile",
    "monorepo-poetry-3.11-none-render-hostile",
    "backend-uv-3.13-lax-railway-plain",
)
# The column that stands for all questions that are answered in free text.
TEXTS: Final = "texts"

# All that could end a string, a line, a comment or a template in some language.
HOSTILE: Final = {
    "project_name": """It's: \"\"\"A\"\"\" #1: 🚀 {{ x }} {% y %} \\n $HOME ${{ z }}""",
    "project_slug": "a0" + "-b" * 19,  # as long as can be
    "project_description": """"Ünser" <b>#1</b>: it's {{ x }} {# y #} `id` $(id) %s ''' -- \\""",
    "frontend_origin": "https://xn--bcher-kva.example.com:65535",
}
TEXT_ANSWERS: Final[Mapping[str, Answers]] = {"plain": {}, "hostile": HOSTILE}


def questions() -> dict[str, dict[str, Any]]:
    """Return the questions that people are asked, by name."""
    return {
        name: question
        for name, question in load_config(ROOT).items()
        if name[0] != "_" and question.get("when") is not False
    }


def columns() -> dict[str, list[str]]:
    """Return the possible values of each column: the choices, and the two kinds of texts."""
    offered = {
        name: choices(question) for name, question in questions().items() if "choices" in question
    }
    return offered | {TEXTS: list(TEXT_ANSWERS)}


def choices(question: Mapping[str, Any]) -> list[str]:
    """Return what can be answered to a question, without the texts that people see."""
    offered = question["choices"]
    return [str(choice) for choice in (offered.values() if isinstance(offered, dict) else offered)]


def all_are_wanted() -> bool:
    """Say whether the full cross product is to be proven."""
    return os.environ.get("TEMPLATE_VARIANTS") == "all"


def rows() -> list[dict[str, str]]:
    """Return the rows of the table, or every row that there can be."""
    if all_are_wanted():
        names = columns()
        return [dict(zip(names, row, strict=True)) for row in itertools.product(*names.values())]
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pairs(row: Mapping[str, str]) -> Iterable[tuple[tuple[str, str], ...]]:
    """Return every two answers that meet in a row."""
    return itertools.combinations(sorted(row.items()), 2)


def answers(row: Mapping[str, str]) -> Answers:
    """Return a row as answers to the template's questions."""
    chosen = {name: answer for name, answer in row.items() if name != TEXTS}
    return {**chosen, **TEXT_ANSWERS[row[TEXTS]]}


def variants() -> dict[str, dict[str, str]]:
    """Return the rows by a readable name."""
    return {"-".join(row.values()): row for row in rows()}


def variants_to_run() -> dict[str, dict[str, str]]:
    """Return the rows that are installed and run, by name."""
    found = variants()
    if all_are_wanted():
        return found
    assert found.keys() >= set(RUN), f"RUN names what is no row of {TABLE.name}: {RUN}"
    return {name: found[name] for name in RUN}
