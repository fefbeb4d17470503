"""wrk, the load generator."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hooks.check_template import ROOT
from tests.commands import run

SCRIPT: Final = Path(__file__).parent / "load.lua"
CONNECTIONS: Final = 16


@dataclass(frozen=True)
class Load:
    """What to call on a port of this machine, by how many connections.

    script: arguments of `load.lua`. threads: of wrk.
    """

    port: int
    path: str
    headers: Mapping[str, str]
    script: Sequence[str] = ()
    connections: int = CONNECTIONS
    threads: int = 1


@dataclass(frozen=True)
class Result:
    """What came of it. p99: seconds that all but a hundredth of the calls took at most."""

    requests: int
    seconds: float
    p99: float

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.requests / self.seconds


def command(load: Load, seconds: float) -> list[str]:
    """Return the command line."""
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
    """Call without end for some seconds. Fails when an answer was an error."""
    return parse(run(command(load, seconds), ROOT))


def parse(output: str) -> Result:
    """Read what `load.lua` printed at the end."""
    for line in reversed(output.splitlines()):
        with suppress(ValueError):
            found = json.loads(line)
            assert found.pop("errors") == 0, output
            return Result(**found)
    raise AssertionError(output)
