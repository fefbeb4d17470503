"""The reloader of `dev`."""

import signal
import socket
import threading

import pytest
import uvicorn

from app.cli.reloader import Reloader
from tests.conftest import HANG_SECONDS


class InterruptedEvent(threading.Event):
    """An event that a second signal interrupts while it holds its lock, as `Event.set` does."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def set(self) -> None:
        """Set the event."""
        with self.lock:
            signal.raise_signal(signal.SIGTERM)
        super().set()


def test_second_signal_does_not_make_the_first_one_wait_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hang(*_: object) -> None:
        raise TimeoutError

    with socket.create_server(("127.0.0.1", 0)) as listener:
        reloader = Reloader(uvicorn.Config("app.main:app"), listener, lambda: True)
    monkeypatch.setattr(reloader, "should_exit", InterruptedEvent())
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    alarm = signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANG_SECONDS)
    try:
        for number in before:
            signal.signal(number, reloader.signal_handler)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.alarm(0)
        for number, handler in (before | {signal.SIGALRM: alarm}).items():
            signal.signal(number, handler)

    assert reloader.should_exit.is_set()
    with pytest.raises(StopIteration):
        reloader.pause()
