"""The machine of the measurement, and the versions of the software."""

import os
import re
from pathlib import Path

from benchmarks.stage import Stage
from tests.support.commands import run


def describe(stage: Stage) -> dict[str, str]:
    """Return the conditions of a measurement, by name."""
    names = dict(stage.probe("versions"))
    server = run([stage.postgres.programs / "postgres", "--version"], stage.folder)
    wrk = run(["wrk", "--version"], stage.folder, exit_code=1)  # its exit code here
    memory = int(re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text("ascii"))[0])
    return {
        "CPU": model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 1024**2:.0f} GB",
        **names,
        "Postgres": server.split()[-1],
        "wrk": wrk.split()[1],
    }


def model() -> str:
    """Return the processor's name."""
    found = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    return str(found[0]) if found else "unknown"
