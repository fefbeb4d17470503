"""The files that a project is expected to have."""

import itertools
from pathlib import Path
from typing import Final, TypedDict

import yaml

from tests.variants import Answers


class Listing(TypedDict):
    """What `listing.yml` holds: the files of every project, and those that an answer adds."""

    always: list[str]
    answers: dict[str, dict[str, list[str]]]


LISTING: Final[Listing] = yaml.safe_load(
    Path(__file__).with_name("listing.yml").read_text(encoding="utf-8")
)


def expected_files(row: Answers) -> set[str]:
    """Return the files that a project of these answers has."""
    added = [by_answer[row[name]] for name, by_answer in LISTING["answers"].items()]
    folder = "backend/" if row["repo_layout"] == "monorepo" else ""
    return {
        name.removeprefix("/") if name.startswith("/") else f"{folder}{name}"
        for name in itertools.chain(LISTING["always"], *added)
    }
