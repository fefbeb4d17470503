"""What happens between the signal to stop and the shutdown: a delay, and the end of streams."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Drainable(Protocol):
    """An object that notes whether the process is shutting down, and can end its streams."""

    draining: bool

    def end_streams(self) -> None:
        """End the requests that would otherwise never end."""


@contextmanager
def delay_shutdown(state: Drainable, seconds: float) -> Iterator[None]:
    """On SIGTERM, set `state.draining`, and pass the signal to the server after `seconds`.

    Uvicorn closes its listeners immediately, but a load balancer sends requests until it has
    noticed that the process is not ready. It then waits for all requests, and so for streams, which
    end here. On SIGINT (Ctrl-C), they end too, without a delay.

    Enter this context in the lifespan, after the server has set its handlers. It then works with
    one worker, with several, and under plain Uvicorn.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        state.end_streams()
        # Raise the signal again, because the default handler is not a function.
        signal.signal(number, before[signal.Signals(number)])
        signal.raise_signal(number)

    def start_draining(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            loop.call_soon_threadsafe(stop, number)
        elif not state.draining:
            state.draining = True
            loop.call_soon_threadsafe(loop.call_later, seconds, stop, number)

    # Not a handler that Python cannot restore (None), and not Ctrl-C without a server.
    kept = (signal.SIG_IGN, None, signal.default_int_handler)
    replaced = [number for number, handler in before.items() if handler not in kept]
    for number in replaced:
        signal.signal(number, start_draining)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, before[number])
