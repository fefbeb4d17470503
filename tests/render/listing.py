"""The files that a project must have."""

import itertools
from pathlib import Path
from typing import Final, TypedDict

import yaml

from tests.support.variants import Answers


class Listing(TypedDict):
    """The content of `listing.yml`: the files of all projects, and those that an answer adds."""

    always: list[str]
    answers: dict[str, dict[str, list[str]]]


LISTING: Final[Listing] = yaml.safe_load(
    Path(__file__).with_name("listing.yml").read_text(encoding="utf-8")
)


def expected_files(row: Answers) -> set[str]:
    """Return the files of a project with these answers."""
    added = [by_answer[row[name]] for name, by_answer in LISTING["answers"].items()]
    folder = "backend/" if row["repo_layout"] == "monorepo" else ""
    return {
        name.removeprefix("/") if name.startswith("/") else f"{folder}{name}"
        for name in itertools.chain(LISTING["always"], *added)
    }
