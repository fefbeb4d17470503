"""Two replicas behind nginx, of which one is replaced or killed, and two that share sessions."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.client import Browser
from tests.support.load import Call, call_once, load
from tests.support.middlemen import Nginx
from tests.support.postgres import age_tokens_sql
from tests.support.production import (
    CREDENTIALS,
    LOCK_USER,
    LOGIN,
    LOGOUT,
    ME,
    REFRESH,
    SECRET,
    Site,
)
from tests.support.servers import STOP_SECONDS, Server, free_port, wait_until

# A platform sends requests until its next health check. In the container, the delay is 5.
SHUTDOWN_DELAY_SECONDS = 8
GRACE_SECONDS = 60
OTHER_SECRET = "9QpXw2LmVt6ZrB4nKs8YfHc1JgDe7Ua5"


def test_a_rolling_restart_under_load_fails_no_request(site: Site, tmp_path: Path) -> None:
    site.settings |= {"SHUTDOWN_DELAY_SECONDS": str(SHUTDOWN_DELAY_SECONDS)}
    nginx = Nginx(free_port(), tmp_path)
    with ExitStack() as stack:
        replicas = [stack.enter_context(site.serve()) for _ in range(2)]
        for replica in replicas:
            replica.wait_until_ready()
        proxy = stack.enter_context(nginx.before(*(it.port for it in replicas)))
        readers = [(site.sign_in(proxy), Call("GET", ME)) for _ in range(3)]
        writers = [(site.sign_in(proxy), Call("POST", REFRESH)) for _ in range(2)]
        logins = (Browser(proxy.port), Call("POST", LOGIN, CREDENTIALS))
        with load(*readers, *writers, logins) as recorded:
            recorded.wait_for(20, 200)
            for old in list(replicas):
                moment = time.monotonic()
                replicas.remove(old)
                leave(old, lambda: nginx.move(proxy, replicas[0].port))
                replicas.append(stack.enter_context(site.serve()))
                replicas[-1].wait_until_ready()
                nginx.move(proxy, *(it.port for it in replicas))
                recorded.wait_for(20, 200, since=moment)
                recorded.wait_for(20, 204, since=moment)
        assert set(recorded.counts()) == {200, 204}, recorded.counts()


def leave(replica: Server, take_out: Callable[[], None]) -> None:
    """Stop a replica like a platform, which takes it out when it is not ready."""
    replica.process.send_signal(signal.SIGTERM)
    wait_until(lambda: replica.responds("/health/ready", 503), replica.output)
    take_out()
    assert replica.process.wait(STOP_SECONDS) == 0, replica.output()


def test_killed_replica_fails_only_its_requests_in_flight(site: Site, tmp_path: Path) -> None:
    site.settings |= {"DATABASE_TIMEOUT_SECONDS": "120"}
    # nginx's default: it repeats requests on the other replica, except POST requests.
    nginx = Nginx(free_port(), tmp_path, next_upstream="error timeout")
    with ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        killed, kept = (
            stack.enter_context(
                site.serve(DATABASE_URL=site.postgres.url(site.database, application_name=name))
            )
            for name in ("killed", "kept")
        )
        killed.wait_until_ready()
        kept.wait_until_ready()
        proxy = stack.enter_context(nginx.before(killed.port, kept.port))
        browser = site.sign_in(proxy)
        with load(*[(browser, Call("GET", ME))] * 4) as recorded:
            recorded.wait_for(20, 200)
            with site.postgres.holding(LOCK_USER, site.database):
                refresh = Call("POST", REFRESH)
                calls = [threads.submit(call_once, browser, refresh) for _ in range(8)]
                wait_until(lambda: site.waiting_for_a_lock() == 8, "they don't wait")
                in_flight = site.waiting_for_a_lock("killed")
                moment = time.monotonic()
                killed.process.kill()
                wait_until(lambda: sum(it.done() for it in calls) == in_flight, "none has failed")
            statuses = sorted(it.result().status or 0 for it in calls)
            recorded.wait_for(40, 200, since=moment)
            assert browser.post(REFRESH).status == 204
    assert 0 < in_flight < 8
    assert statuses == [204] * (8 - in_flight) + [502] * in_flight
    assert set(recorded.counts()) == {200}, recorded.counts()


@pytest.fixture
def pair(site: Site) -> Iterator[tuple[Server, Server]]:
    """Return two replicas with rate limits during a secret rotation."""
    site.settings |= {
        "LOGIN_THROTTLE_ENABLED": "true",
        "REFRESH_GRACE_SECONDS": str(GRACE_SECONDS),
    }
    old = site.serve(JWT_SECRET=SECRET, JWT_PREVIOUS_SECRETS=OTHER_SECRET)
    new = site.serve(JWT_SECRET=OTHER_SECRET, JWT_PREVIOUS_SECRETS=SECRET)
    with old as first, new as second:
        first.wait_until_ready()
        second.wait_until_ready()
        yield first, second


def test_session_is_active_and_revoked_on_both_replicas(
    site: Site, pair: tuple[Server, Server]
) -> None:
    for here, there in (pair, pair[::-1]):
        browser = site.sign_in(here)
        elsewhere = Browser(there.port, browser.cookies)
        assert elsewhere.get(ME).status == 200
        rotated = dict(browser.cookies)

        # After a rotation on one replica, the other returns the same successor in the grace period,
        # and detects reuse after it.
        assert browser.post(REFRESH).status == 204
        second_tab = Browser(there.port, dict(rotated))
        assert second_tab.post(REFRESH).status == 204
        assert second_tab.cookies["__Host-refresh"] == browser.cookies["__Host-refresh"]
        site.query(age_tokens_sql(GRACE_SECONDS))
        assert elsewhere.post(REFRESH).status == 204
        assert Browser(here.port, dict(rotated)).post(REFRESH).status == 401
        assert elsewhere.get(ME).status == 401

        browser = site.sign_in(here)
        kept = dict(browser.cookies)
        assert Browser(there.port, browser.cookies).post(LOGOUT).status == 204
        assert Browser(here.port, dict(kept)).get(ME).status == 401
        assert Browser(here.port, dict(kept)).post(REFRESH).status == 401


def test_guesses_on_both_replicas_are_counted_together(pair: tuple[Server, Server]) -> None:
    wrong = CREDENTIALS | {"password": "a wrong passphrase"}
    statuses = [Browser(pair[n % 2].port).post(LOGIN, wrong).status for n in range(8)]
    assert statuses == [401] * 5 + [429] * 3
    assert Browser(pair[0].port).post(LOGIN, CREDENTIALS).status == 429
