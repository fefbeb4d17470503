"""The times of a copy of the template, and from the copy to a passed test suite."""

import shutil
import time
from pathlib import Path

from benchmarks.figures import Figure, Target, against, ratios
from benchmarks.stage import Stage, render
from scripts.projects import project_environment
from tests.support.commands import commit, git, run


def measure(stage: Stage, rounds: int) -> list[Figure]:
    """Copy the template and one with the same number of static files, in turn."""
    static = make_static(stage)
    ours, theirs = [], []
    for number in range(rounds):
        ours.append(seconds_of_copy(stage.release, stage.folder / f"copy-{number}"))
        theirs.append(seconds_of_copy(static, stage.folder / f"static-{number}"))
    return [
        Figure(
            "`copier copy`, relative to copying the same number of static files with Copier",
            ratios(ours, theirs),
            against(ours, theirs, "s", 2),
            Target("≤", 1.5),
        )
    ]


def measure_suite(stage: Stage, rounds: int) -> list[Figure]:
    """Copy, install from a warm cache, and run the quick tests twice."""
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
            "from `copier copy` to a passed suite, warm package cache",
            whole,
            target=Target("≤", 25, " s"),
        ),
        Figure("the suite without `slow`", suite, target=Target("≤", 15, " s")),
    ]


def make_static(stage: Stage) -> Path:
    """Make a template from the files of a rendered project, without Jinja."""
    static = stage.folder / "static"
    render(stage.release, static / "template")
    (static / "copier.yml").write_text("_subdirectory: template\n", encoding="utf-8")
    git(static, "init", "--quiet")
    commit(static, "Static")
    return static


def seconds_of_copy(template: Path, project: Path) -> float:
    """Return the duration of a copy in seconds."""
    started = time.perf_counter()
    render(template, project)
    seconds = time.perf_counter() - started
    shutil.rmtree(project)
    return seconds
