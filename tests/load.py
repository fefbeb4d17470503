"""Load: a few clients that call without end, and note what came back."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPException

from tests.client import HANG_SECONDS, Browser
from tests.servers import wait_until

PAUSE_SECONDS = 0.02
LEVEL_SECONDS = HANG_SECONDS


@dataclass(frozen=True)
class Call:
    """What to call, over and over."""

    method: str
    path: str
    form: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Result:
    """What came back: a status, or an error and no status. Times are of `time.monotonic`."""

    call: Call
    started: float
    ended: float
    status: int | None
    error: str = ""
    retry_after: str | None = None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started


@dataclass
class Load:
    """What the clients have noted so far."""

    results: list[Result] = field(default_factory=list)

    def since(self, moment: float) -> list[Result]:
        """Return the results of what was called after a moment of `time.monotonic`."""
        return [it for it in list(self.results) if it.started >= moment]

    def counts(self) -> Counter[int | str]:
        """Return how often each status and each error came."""
        return Counter(it.error or it.status or 0 for it in list(self.results))

    def wait_for(
        self,
        count: int,
        status: int,
        *,
        since: float = 0,
        path: str | None = None,
        seconds: float = LEVEL_SECONDS,
    ) -> None:
        """Return once so many results of this status have come for what was called since.

        path: count only those that called it.
        """
        __tracebackhide__ = True

        def is_meant(result: Result) -> bool:
            return result.status == status and path in (None, result.call.path)

        wait_until(
            lambda: sum(map(is_meant, self.since(since))) >= count,
            lambda: f"never {count} times {status} of {path}: {self.counts()}",
            seconds,
        )


def call_once(browser: Browser, call: Call) -> Result:
    """Call, and note what came back. Each call has a connection of its own."""
    started = time.monotonic()
    result = Result(call, started, started, None)
    try:
        if call.method == "GET":
            answer = browser.get(call.path)
        else:
            answer = browser.post(call.path, call.form)
        result = replace(
            result, status=answer.status, retry_after=answer.headers.get("Retry-After")
        )
    except (OSError, HTTPException) as error:
        result = replace(result, error=repr(error))
    return replace(result, ended=time.monotonic())


@contextmanager
def load(*clients: tuple[Browser, Call]) -> Iterator[Load]:
    """Have each client call without end, in a thread of its own, until the block ends."""
    noted = Load()
    over = threading.Event()

    def work(browser: Browser, call: Call) -> None:
        while not over.is_set():
            noted.results.append(call_once(browser, call))
            over.wait(PAUSE_SECONDS)

    threads = [threading.Thread(target=work, args=client) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield noted
    finally:
        over.set()
        for thread in threads:
            thread.join()
