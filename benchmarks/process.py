"""The memory of one process, and the time until its first response."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.figures import Figure, Target, against, ratios
from benchmarks.stage import PROBES, Stage, access_cookie
from benchmarks.wrk import Load, fire
from scripts.projects import python_of
from tests.support.production import ME
from tests.support.servers import Server

REQUESTS: Final = 10_000
OWN: Final = ("app", "__main__")
IMPORTED: Final = "import time:"


def measure(stage: Stage, rounds: int) -> list[Figure]:
    """Start the application and a process with the same imports, in turn."""
    modules = imported(stage)
    sizes, bare_sizes, starts, bare_starts = [], [], [], []
    for _ in range(rounds):
        with importing(stage, modules) as (seconds, process):
            bare_starts.append(seconds)
            bare_sizes.append(megabytes(process))
        started = time.perf_counter()
        with stage.site.serve() as server:
            wait(server)
            starts.append(time.perf_counter() - started)
        with stage.app() as server:
            cookie = access_cookie(stage, server)
            done = 0
            while done < REQUESTS:
                done += fire(Load(server.port, ME, cookie), 1).requests
            sizes.append(megabytes(server.process))
    return [
        Figure(
            "memory of one worker after 10 000 requests, relative to a process that only imports "
            "the same libraries",
            ratios(sizes, bare_sizes),
            against(sizes, bare_sizes, "MB"),
            Target("≤", 1.3),
        ),
        Figure(
            "start to first response, relative to importing the same libraries",
            ratios(starts, bare_starts),
            against(starts, bare_starts, "s", 2),
            Target("≤", 1.5),
        ),
    ]


def imported(stage: Stage) -> list[str]:
    """Return the libraries that `serve` imports until its first response, in order."""
    with stage.app(PYTHONPROFILEIMPORTTIME="1") as server:
        access_cookie(stage, server)
    lines = (it for it in server.output().splitlines() if it.startswith(IMPORTED))
    names = [line.rpartition("|")[2].strip() for line in lines]
    return [it for it in names if " " not in it and it.split(".")[0] not in OWN]


@contextmanager
def importing(stage: Stage, modules: list[str]) -> Iterator[tuple[float, subprocess.Popen[str]]]:
    """Yield the seconds that a new process needs to import modules, and the process."""
    started = time.perf_counter()
    with subprocess.Popen(
        [python_of(stage.project), PROBES / "imports.py"],
        cwd=stage.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(modules) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "imported\n"
        yield time.perf_counter() - started, process
        process.stdin.close()


def megabytes(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> float:
    """Return the resident memory of a process in megabytes."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:  # noqa: PTH123
        (line,) = (it for it in status if it.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def wait(server: Server) -> None:
    """Return as soon as a server responds. `wait_until` would notice it later."""
    while not server.responds("/health", 200):
        assert server.process.poll() is None, server.output()
        time.sleep(0.002)
