"""The reloader of `dev`: Uvicorn's own, which also restarts the server when `.env` changes."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.supervisors.basereload import HANDLED_SIGNALS
from uvicorn.supervisors.watchfilesreload import WatchFilesReload
from watchfiles import watch

from app.core.startup import ENV

WAIT_MILLISECONDS = 400  # between two checks of `.env`


class Reloader(WatchFilesReload):
    """Restarts the server when the code changes, or when `.env` changes and is accepted.

    accept_env: applies a changed `.env`, and returns whether to restart the server with it.
    """

    def __init__(
        self, config: uvicorn.Config, sock: socket.socket, accept_env: Callable[[], bool]
    ) -> None:
        super().__init__(config, target=uvicorn.Server(config).run, sockets=[sock])
        # Like Uvicorn's watcher, but with a shorter wait (Uvicorn waits for five seconds). Watching
        # the folder of `.env` would include everything below it, and therefore the database.
        self.watcher = watch(
            *self.reload_dirs,
            watch_filter=None,
            stop_event=self.should_exit,
            yield_on_timeout=True,
            rust_timeout=WAIT_MILLISECONDS,
            ignore_permission_denied=True,
        )
        self.accept_env = accept_env
        self.seen = self.accepted = _stamp()

    def signal_handler(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and ignore further signals: a parent process may pass on a copy of the signal.

        The handlers would interrupt each other, and `Event.set` waits for a lock that it may hold.
        """
        for number in HANDLED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        super().signal_handler(sig, frame)

    def pause(self) -> None:
        """Do not wait: a signal during `Event.wait` might meet the same lock."""
        if self.should_exit.is_set():
            raise StopIteration

    def should_restart(self) -> list[Path] | None:
        """Return the files that have changed, if they require a restart."""
        changes = super().should_restart()
        previous, self.seen = self.seen, _stamp()
        # A file that is still changing may be incomplete.
        if self.seen == self.accepted or self.seen != previous:
            return changes
        self.accepted = self.seen
        return [*(changes or []), ENV.absolute()] if self.accept_env() else changes


def _stamp() -> tuple[int, int, int] | None:
    try:
        stat = ENV.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
