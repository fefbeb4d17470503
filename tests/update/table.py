"""Write the table in `docs/updates.md` from the results: `python -m tests.update.table`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.check_template import ROOT
from tests.update.profiles import PROFILES

FOLDER: Final = ROOT / ".updates"
PAGE: Final = ROOT / "docs/updates.md"
START: Final = "| team |"


@dataclass
class Outcome:
    """The outcome of an update: conflicting files and hunks, and the result of the project's tests.

    suite: `green`, `red`, or empty if the tests did not run.
    """

    files: int
    hunks: int
    suite: str = ""

    def __str__(self) -> str:
        """Return the cell of the table."""
        if self.files:
            return f"{_count(self.hunks, 'conflict')} in {_count(self.files, 'file')}"
        return ", ".join(part for part in ("0 conflicts", self.suite) if part)


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def table(folder: Path) -> str:
    """Return the rows in a folder as a table in the order of the profiles."""
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.json")]
    rows.sort(key=lambda row: (list(PROFILES).index(row[0]), row[1]))
    lines = [
        f"{START} from | `make template-update` | `copier update` |",
        "| --- | --- | --- | --- |",
    ]
    for name, origin, ours, copier in rows:
        cells = f"{Outcome(**ours)} | {Outcome(**copier)}"
        lines.append(f"| {name} | {origin.removeprefix('v')} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace the table on the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text[: text.index(START)] + table(FOLDER), encoding="utf-8")


if __name__ == "__main__":
    main()
