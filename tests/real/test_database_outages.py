"""A database that stops, hangs, closes connections or is read-only, under load."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.client import Browser
from tests.support.load import Call, Load, Result, call_once, load
from tests.support.production import CREDENTIALS, LOGIN, LOGOUT, ME, REFRESH, Site
from tests.support.servers import Server, wait_until

TIMEOUT_SECONDS = 5.0
# The application waits for one timeout. The rest is for a busy machine.
RECOVERY_SECONDS = 3 * TIMEOUT_SECONDS
# Reads wait for this lock too.
LOCK_USERS = "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"


def mixed_load(site: Site, server: Server) -> list[tuple[Browser, Call]]:
    """Return clients that read, refresh, sign in and check whether the replica is ready."""
    readers = [(site.sign_in(server), Call("GET", ME)) for _ in range(3)]
    writers = [(site.sign_in(server), Call("POST", REFRESH)) for _ in range(2)]
    logins = (Browser(server.port), Call("POST", LOGIN, CREDENTIALS))
    probes = (Browser(server.port), Call("GET", "/health/ready"))
    return [*readers, *writers, logins, probes]


def wait_for_each(recorded: Load, status: int, since: float) -> None:
    """Return when each kind of request has got this status twice."""
    for path in (ME, REFRESH, LOGIN, "/health/ready"):
        recorded.wait_for(2, status, since=since, path=path)


def assert_only_unavailable(results: list[Result], seconds: float) -> None:
    """Check that every result is a 503 in time with a Retry-After header."""
    assert results
    for it in results:
        assert (it.status, it.error) in ((503, ""),), it
        assert it.retry_after, it
        assert it.seconds < 3 * seconds, it


def assert_recovery(recorded: Load, since: float, clients: int) -> None:
    """Check that all requests succeed again soon."""
    recorded.wait_for(clients, 200, since=since, seconds=RECOVERY_SECONDS)
    recovered = time.monotonic()
    assert recovered - since < RECOVERY_SECONDS
    recorded.wait_for(5 * clients, 200, since=recovered)
    recorded.wait_for(5, 204, since=recovered)
    assert {it.status for it in recorded.since(recovered)} <= {200, 204}, recorded.counts()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_stopped_database_causes_503_until_it_is_available(
    site: Site, replica: Server, number: signal.Signals
) -> None:
    with load(*mixed_load(site, replica)) as recorded:
        recorded.wait_for(20, 200)
        assert set(recorded.counts()) <= {200, 204}
        with site.postgres.stopped(number):
            stopped = time.monotonic()
            wait_for_each(recorded, 503, stopped)
            assert_only_unavailable(recorded.since(stopped), TIMEOUT_SECONDS)
        assert_recovery(recorded, time.monotonic(), 5)
    assert set(recorded.counts()) <= {200, 204, 503}
    assert replica.process.poll() is None
    assert "Traceback" not in replica.output()


def test_hanging_database_causes_503_in_time_until_it_resumes(site: Site, replica: Server) -> None:
    with load(*mixed_load(site, replica)) as recorded:
        recorded.wait_for(20, 200)
        with site.postgres.hung():
            hung = time.monotonic()
            wait_for_each(recorded, 503, hung)
            assert_only_unavailable(recorded.since(hung), TIMEOUT_SECONDS)
            assert replica.responds("/health", 200)
        assert_recovery(recorded, time.monotonic(), 5)
    assert set(recorded.counts()) <= {200, 204, 503}
    assert replica.process.poll() is None
    assert "Traceback" not in replica.output()


def test_clients_do_not_notice_that_closed_connections_are_replaced(
    site: Site, replica: Server
) -> None:
    browser = site.sign_in(replica)
    for _ in range(5):
        # Requests that wait for a lock at the same time use one connection each. All succeed.
        with ThreadPoolExecutor(5) as threads, site.postgres.holding(LOCK_USERS, site.database):
            calls = [threads.submit(call_once, browser, Call("GET", ME)) for _ in range(5)]
            wait_until(lambda: site.waiting_for_a_lock() == 5, "they don't wait")
        assert [call.result().status for call in calls] == [200] * 5
        assert site.connections() > 1
        site.postgres.hang_up(site.database)
        # The replica notices that the connections are closed before it responds.
        assert browser.get("/health").status == 200
        for call in (Call("GET", ME), Call("POST", REFRESH), Call("POST", LOGIN, CREDENTIALS)):
            assert call_once(browser, call).status in (200, 204)
    assert "Traceback" not in replica.output()


def test_read_only_database_rejects_logins_and_authenticates_users(
    site: Site, replica: Server
) -> None:
    browser = site.sign_in(replica)
    held = dict(browser.cookies)
    set_read_only = f'ALTER DATABASE "{site.database}" SET default_transaction_read_only'
    site.postgres.query(f"{set_read_only} = on")
    site.postgres.hang_up(site.database)

    for call in (Call("POST", LOGIN, CREDENTIALS), Call("POST", REFRESH), Call("POST", LOGOUT)):
        result = call_once(browser, call)
        assert (result.status, bool(result.retry_after)) == (503, True), result
    assert browser.cookies == held
    assert browser.get(ME).status == 200
    assert browser.get("/health/ready").status == 200

    site.postgres.query(f"{set_read_only} = off")
    site.postgres.hang_up(site.database)
    assert browser.post(REFRESH).status == 204
    assert browser.post(LOGIN, CREDENTIALS).status == 200
