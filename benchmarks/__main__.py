"""`make bench`: compare the default project with reference programs.

python -m benchmarks [--rounds 5] [--seconds 4] [--minutes 10] [--only calls,…] [--write]
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks import calls, copies, jobs, logins, machine, pages, plot, process, report, scale
from benchmarks.figures import Figure
from benchmarks.stage import Stage, stage
from scripts.check_template import ROOT
from tests.support.rendering import isolation

PAGE: Final = ROOT / "docs" / "performance.md"
PLOT: Final = ROOT / "docs" / "performance.svg"
RESULTS: Final = ROOT / ".benchmarks" / "results.json"


def main() -> int:
    """Measure, print the table, and save the results. A missed target is no failure."""
    options = parse()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing; on Debian and Ubuntu: apt-get install wrk")
    rounds, seconds = options.rounds, options.seconds
    groups: dict[str, Callable[[Stage], list[Figure]]] = {
        "calls": lambda it: calls.measure(it, rounds, seconds),
        "logins": lambda it: logins.measure(it, rounds, 2 * seconds),
        "jobs": lambda it: jobs.measure(it, rounds),
        "pages": lambda it: pages.measure(it, rounds),
        "process": lambda it: process.measure(it, rounds),
        "copies": lambda it: copies.measure(it, rounds),
        "suite": lambda it: copies.measure_suite(it, max(1, rounds // 2)),
        "scale": lambda it: scale.measure(it, rounds, options.minutes),
    }
    wanted = options.only.split(",") if options.only else list(groups)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, the embedded Postgres runs as another user
        os.environ.update(isolation(folder))
        print("Rendering and installing the default project …", flush=True)
        with stage(folder) as it:
            conditions = machine.describe(it)
            # With --only, keep the last results of the other groups.
            found = report.load(RESULTS, conditions) if options.only else {}
            for group in wanted:
                print(f"Measuring: {group} …", flush=True)
                found[group] = groups[group](it)
                # Save after each group, so that an interrupted run keeps its results.
                keep({name: found[name] for name in groups if name in found}, conditions, options)
    print(report.table([it for name in wanted for it in found[name]]))
    return 0


def keep(groups: report.Groups, conditions: dict[str, str], options: argparse.Namespace) -> None:
    """Save the results so far, and write the page if the options ask for it."""
    RESULTS.parent.mkdir(exist_ok=True)
    report.save(RESULTS, groups, conditions, options.rounds)
    if options.write:
        figures = [it for group in groups.values() for it in group]
        PLOT.write_text(plot.draw(figures), encoding="utf-8")
        report.write_page(PAGE, report.section(figures, conditions, options.rounds, PLOT.name))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5, help="for each measurement; 5 or more")
    parser.add_argument("--seconds", type=float, default=4, help="duration of each load")
    parser.add_argument("--minutes", type=float, default=10, help="to fill the large database")
    parser.add_argument("--only", help="groups: calls,logins,jobs,pages,process,copies,suite,scale")
    parser.add_argument("--write", action="store_true", help="write the results to the page")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
