"""An exhausted connection pool: clients wait, get a 503 in time, and succeed again later."""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest

from tests.support.client import Browser
from tests.support.load import Call, call_once
from tests.support.production import ME, REFRESH, Site
from tests.support.servers import Server, wait_until

SIZE = 2
REQUESTS = 4 * SIZE
TIMEOUT_SECONDS = 5.0
# Reads wait for this lock too. Refreshes that wait for a row leave connections for others; see
# `test_abuse.py`.
LOCK_USERS = "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"


@pytest.fixture
def replica(site: Site) -> Iterator[Server]:
    """Return a replica with at most two connections."""
    site.settings |= {
        "DATABASE_POOL_SIZE": str(SIZE),
        "DATABASE_MAX_OVERFLOW": "0",
        "DATABASE_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
    }
    with site.serve() as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def browser(site: Site, replica: Server) -> Browser:
    """Return a browser that is signed in."""
    return site.sign_in(replica)


def test_clients_wait_for_a_connection_and_then_get_a_response(
    site: Site, browser: Browser
) -> None:
    with ThreadPoolExecutor(8) as threads:
        with site.postgres.holding(LOCK_USERS, site.database):
            holders = [threads.submit(call_once, browser, Call("GET", ME)) for _ in range(SIZE)]
            wait_until(lambda: site.waiting_for_a_lock() == SIZE, "they don't wait")
            waiting = [threads.submit(call_once, browser, Call("GET", ME)) for _ in range(3)]
            assert not wait(waiting, TIMEOUT_SECONDS / 4, FIRST_COMPLETED).done
        assert [it.result().status for it in holders] == [200] * SIZE
        assert [it.result().status for it in waiting] == [200] * 3


def test_exhausted_pool_causes_503_in_time_and_recovers(
    site: Site, replica: Server, browser: Browser
) -> None:
    with ThreadPoolExecutor(REQUESTS) as threads:
        with site.postgres.holding(LOCK_USERS, site.database):
            calls = [threads.submit(call_once, browser, Call("GET", ME)) for _ in range(REQUESTS)]
            wait_until(lambda: site.waiting_for_a_lock() == SIZE, "they don't wait")
            assert replica.responds("/health", 200)
            assert call_once(browser, Call("GET", "/health/ready")).seconds < TIMEOUT_SECONDS
            results = [call.result() for call in calls]
        assert browser.post(REFRESH).status == 204
        assert browser.get(ME).status == 200
    for it in results:
        assert (it.status, bool(it.retry_after)) == (503, True), it
        # The timeout bounds the wait for a connection, and then the wait for the lock.
        # A third timeout is for a busy machine.
        assert it.seconds < 3 * TIMEOUT_SECONDS
    assert "QueuePool limit" in replica.output()
    assert "Traceback" not in replica.output()
