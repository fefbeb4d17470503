"""Load: a few clients that send requests continuously and record the results."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPException

from tests.support.client import HANG_SECONDS, Browser
from tests.support.servers import wait_until

PAUSE_SECONDS = 0.02
LEVEL_SECONDS = HANG_SECONDS


@dataclass(frozen=True)
class Call:
    """The request to send repeatedly."""

    method: str
    path: str
    form: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Result:
    """The result of a request: a status, or an error and no status. Times are `time.monotonic`."""

    call: Call
    started: float
    ended: float
    status: int | None
    error: str = ""
    retry_after: str | None = None

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.ended - self.started


@dataclass
class Load:
    """The results that the clients have recorded so far."""

    results: list[Result] = field(default_factory=list)

    def since(self, moment: float) -> list[Result]:
        """Return the results of requests that started after a moment of `time.monotonic`."""
        return [it for it in list(self.results) if it.started >= moment]

    def counts(self) -> Counter[int | str]:
        """Return how often each status and each error occurred."""
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
        """Return when this many requests since a moment had this status.

        path: count only the requests to this path.
        """
        __tracebackhide__ = True

        def matches(result: Result) -> bool:
            return result.status == status and path in (None, result.call.path)

        wait_until(
            lambda: sum(map(matches, self.since(since))) >= count,
            lambda: f"{path} did not respond {count} times with {status}: {self.counts()}",
            seconds,
        )


def call_once(browser: Browser, call: Call) -> Result:
    """Send a request on a new connection, and return the result."""
    started = time.monotonic()
    result = Result(call, started, started, None)
    try:
        if call.method == "GET":
            response = browser.get(call.path)
        else:
            response = browser.post(call.path, call.form)
        result = replace(
            result, status=response.status, retry_after=response.headers.get("Retry-After")
        )
    except (OSError, HTTPException) as error:
        result = replace(result, error=repr(error))
    return replace(result, ended=time.monotonic())


@contextmanager
def load(*clients: tuple[Browser, Call]) -> Iterator[Load]:
    """Let each client send requests in its own thread until the block ends."""
    recorded = Load()
    stopped = threading.Event()

    def work(browser: Browser, call: Call) -> None:
        while not stopped.is_set():
            recorded.results.append(call_once(browser, call))
            stopped.wait(PAUSE_SECONDS)

    threads = [threading.Thread(target=work, args=client) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield recorded
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
