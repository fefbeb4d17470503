"""wrk, the load generator."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.check_template import ROOT
from tests.support.commands import run

SCRIPT: Final = Path(__file__).parent / "load.lua"
CONNECTIONS: Final = 16


@dataclass(frozen=True)
class Load:
    """A load on a port of this machine.

    script: arguments for `load.lua`. connections, threads: the numbers that wrk uses.
    """

    port: int
    path: str
    headers: Mapping[str, str]
    script: Sequence[str] = ()
    connections: int = CONNECTIONS
    threads: int = 1


@dataclass(frozen=True)
class Result:
    """The result of a load. p99: the 99th percentile of the latency, in seconds."""

    requests: int
    seconds: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def command(load: Load, seconds: float) -> list[str]:
    """Return the command line of wrk."""
    return [
        "wrk",
        f"--threads={load.threads}",
        f"--connections={load.connections}",
        f"--duration={seconds:g}s",
        "--timeout=30s",
        f"--script={SCRIPT}",
        *(f"--header={name}: {value}" for name, value in load.headers.items()),
        f"http://127.0.0.1:{load.port}{load.path}",
        "--",
        *load.script,
    ]


def fire(load: Load, seconds: float) -> Result:
    """Send requests continuously for some seconds. Fail if a response was an error."""
    return parse(run(command(load, seconds), ROOT))


def parse(output: str) -> Result:
    """Parse the line that `load.lua` prints at the end."""
    for line in reversed(output.splitlines()):
        with suppress(ValueError):
            found = json.loads(line)
            assert found.pop("errors") == 0, output
            return Result(**found)
    raise AssertionError(output)
