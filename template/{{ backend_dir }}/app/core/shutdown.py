"""A delay between the signal to stop and the shutdown."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Drainable(Protocol):
    """An object that notes whether the process is shutting down."""

    draining: bool


@contextmanager
def delay_shutdown(state: Drainable, seconds: float) -> Iterator[None]:
    """On SIGTERM, set `state.draining`, and pass the signal to the server after `seconds`.

    Uvicorn closes its listeners immediately, but a load balancer sends requests until it has
    noticed that the process is not ready. Enter this context in the lifespan, after the server has
    set its handlers. It then works with one worker, with several, and under plain Uvicorn.
    """
    before = signal.getsignal(signal.SIGTERM)
    # None: the handler was not installed from Python, and cannot be restored.
    nothing_to_delay = seconds <= 0 or before in (signal.SIG_IGN, None)
    if nothing_to_delay or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        # Raise the signal again, because the default handler is not a function.
        signal.signal(number, before)
        signal.raise_signal(number)

    def start_draining(number: int, _frame: FrameType | None) -> None:
        if not state.draining:
            state.draining = True
            loop.call_soon_threadsafe(loop.call_later, seconds, stop, number)

    signal.signal(signal.SIGTERM, start_draining)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
