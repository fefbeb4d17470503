"""The delay of a shutdown, in processes of its own: the signal may end them."""

import signal
import subprocess
import sys

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.slow

PROGRAM = """
import asyncio, signal
from starlette.datastructures import State
from app.core.shutdown import delay_shutdown

async def serve():
    state = State({"draining": False})
    with delay_shutdown(state, 0.3):
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.01)
        print(f"draining={state.draining} stopped={stopped}", flush=True)
        await asyncio.sleep(0.6)
    print(f"stopped={stopped}")

stopped = []
signal.signal(signal.SIGTERM, HANDLER)
asyncio.run(serve())
"""


@pytest.mark.parametrize(
    ("handler", "status", "lines"),
    [
        ("lambda *_: stopped.append(1)", 0, ["draining=True stopped=[]", "stopped=[1]"]),
        ("signal.SIG_DFL", -signal.SIGTERM, ["draining=True stopped=[]"]),
        ("signal.SIG_IGN", 0, ["draining=False stopped=[]", "stopped=[]"]),
    ],
    ids=["the server's", "the default", "ignored"],
)
def test_what_was_to_happen_at_the_signal_happens_after_the_delay(
    handler: str, status: int, lines: list[str]
) -> None:
    program = PROGRAM.replace("HANDLER", handler)
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )

    assert ended.returncode == status, ended.stderr
    assert ended.stdout.splitlines() == lines
