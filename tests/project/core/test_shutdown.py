"""The shutdown delay, in separate processes, because the signal may stop them."""

import signal
import subprocess
import sys

import pytest

from tests.conftest import HANG_SECONDS
from tests.processes import ROOT

pytestmark = pytest.mark.slow

PROGRAM = """
import asyncio, signal
from starlette.datastructures import State
from app.core.shutdown import delay_shutdown

async def serve():
    state = State({"draining": False, "end_streams": lambda: stopped.append("streams")})
    loop = asyncio.get_running_loop()
    began = loop.time()
    with delay_shutdown(state, 0.3):
        signal.raise_signal(signal.SIGTERM)
        print(f"draining={state.draining} stopped={stopped}", flush=True)
        end = began + (HANG_SECONDS if state.draining else 0.6)
        while not stopped and loop.time() < end:
            await asyncio.sleep(0.01)
    print(f"stopped={stopped} delayed={loop.time() - began >= 0.3}")

stopped = []
signal.signal(signal.SIGTERM, HANDLER)
asyncio.run(serve())
"""


@pytest.mark.parametrize(
    ("handler", "status", "lines"),
    [
        (
            "lambda *_: stopped.append(1)",
            0,
            ["draining=True stopped=[]", "stopped=['streams', 1] delayed=True"],
        ),
        ("signal.SIG_DFL", -signal.SIGTERM, ["draining=True stopped=[]"]),
        ("signal.SIG_IGN", 0, ["draining=False stopped=[]", "stopped=[] delayed=True"]),
    ],
    ids=["handler of the server", "default handler", "ignored"],
)
def test_signal_takes_effect_after_the_delay(handler: str, status: int, lines: list[str]) -> None:
    program = PROGRAM.replace("HANDLER", handler).replace("HANG_SECONDS", str(HANG_SECONDS))
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )

    assert ended.returncode == status, ended.stderr
    assert ended.stdout.splitlines() == lines
