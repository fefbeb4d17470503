"""The results as JSON, and as a section of `docs/performance.md`."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Figure, Target

Groups = dict[str, list[Figure]]

BEGIN: Final = "<!-- written by `make bench`: begin -->"
END: Final = "<!-- written by `make bench`: end -->"
VERDICTS: Final = {True: "met", False: "**missed**", None: ""}


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| figure | target | median | spread | measured | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for it in figures:
        unit = it.target.unit if it.target else ""
        spread = f"{min(it.samples):.2f} – {max(it.samples):.2f}" if len(it.samples) > 1 else ""
        cells = [it.name, str(it.target or ""), f"{it.median:.2f}{unit}", spread, it.measured]
        lines.append(f"| {' | '.join([*cells, VERDICTS[it.is_met]])} |")
    return "\n".join(lines)


def section(figures: Sequence[Figure], machine: Mapping[str, str], rounds: int, plot: str) -> str:
    """Return the section with the results. plot: the picture's path, relative to the page."""
    conditions = ", ".join(f"{name} {value}" for name, value in machine.items())
    return (
        f"{BEGIN}\n\n![The figures against their targets]({plot})\n\n{table(figures)}\n\n"
        f"Up to {rounds} rounds, interleaved; the spread is from the lowest to the highest. "
        f"{conditions}.\n\n{END}"
    )


def write_page(page: Path, text: str) -> None:
    """Replace the section that the last run has written."""
    before = page.read_text(encoding="utf-8")
    assert before.count(BEGIN) == before.count(END) == 1, f"{page} has no section for results"
    pattern = f"{re.escape(BEGIN)}.*{re.escape(END)}"
    page.write_text(re.sub(pattern, lambda _: text, before, flags=re.S), encoding="utf-8")


def save(path: Path, groups: Groups, machine: Mapping[str, str], rounds: int) -> None:
    """Save all results for programs and for the next run."""
    rows = {
        name: [asdict(it) | {"median": it.median, "met": it.is_met} for it in figures]
        for name, figures in groups.items()
    }
    results = {"machine": dict(machine), "rounds": rounds, "groups": rows}
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path, machine: Mapping[str, str]) -> Groups:
    """Return the results of the last run, if its machine and versions were the same."""
    if not path.exists():
        return {}
    results = json.loads(path.read_text(encoding="utf-8"))
    if results["machine"] != machine:
        return {}
    return {name: [_figure(row) for row in rows] for name, rows in results["groups"].items()}


def _figure(row: dict[str, Any]) -> Figure:
    target = Target(**row["target"]) if row["target"] else None
    return Figure(row["name"], row["samples"], row["measured"], target)
