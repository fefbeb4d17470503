"""Copier: a copy of the template, and from there to a green suite."""

import shutil
import time
from pathlib import Path

from benchmarks.figures import Figure, Target, against, ratios
from benchmarks.stage import Stage, render
from hooks.projects import project_environment
from tests.commands import commit, git, run


def measure(stage: Stage, rounds: int) -> list[Figure]:
    """Copy the template, and one of as many files that need no rendering, in turn."""
    static = make_static(stage)
    ours, theirs = [], []
    for number in range(rounds):
        ours.append(seconds_of_copy(stage.release, stage.folder / f"copy-{number}"))
        theirs.append(seconds_of_copy(static, stage.folder / f"static-{number}"))
    return [
        Figure(
            "`copier copy`, over a copy of as many static files by Copier",
            ratios(ours, theirs),
            against(ours, theirs, "s", 2),
            Target("≤", 1.5),
        )
    ]


def measure_suite(stage: Stage, rounds: int) -> list[Figure]:
    """Copy, install from a warm cache, and run the tests that are not slow; and run them again."""
    whole, suite = [], []
    for number in range(rounds):
        project = stage.folder / f"suite-{number}"
        started = time.perf_counter()
        render(stage.release, project)
        run(["make", "install"], project, project_environment())
        run(["make", "test"], project, project_environment())
        whole.append(time.perf_counter() - started)
        started = time.perf_counter()
        run(["make", "test"], project, project_environment())
        suite.append(time.perf_counter() - started)
        shutil.rmtree(project)
    return [
        Figure(
            "`copier copy` to a green suite, warm package cache",
            whole,
            target=Target("≤", 25, " s"),
        ),
        Figure("the suite without `slow`", suite, target=Target("≤", 15, " s")),
    ]


def make_static(stage: Stage) -> Path:
    """Make a template of a rendered project's files, as they are."""
    static = stage.folder / "static"
    render(stage.release, static / "template")
    (static / "copier.yml").write_text("_subdirectory: template\n", encoding="utf-8")
    git(static, "init", "--quiet")
    commit(static, "Static")
    return static


def seconds_of_copy(template: Path, project: Path) -> float:
    """Return how long a copy takes."""
    started = time.perf_counter()
    render(template, project)
    seconds = time.perf_counter() - started
    shutil.rmtree(project)
    return seconds
