"""One abuser cannot deny service to others.

Each attack is compared with an equal load of harmless requests on the same server: as many
connections, which never pause.
"""

import logging
import statistics
import time
from dataclasses import replace
from typing import Final

import pytest

from tests.support.client import Browser
from tests.support.flood import Flood, flood
from tests.support.production import CREDENTIALS, EMAIL, LOGIN, ME, PASSWORD, REFRESH, Site

log = logging.getLogger(__name__)  # `pytest --log-cli-level=INFO` shows the figures

READY = "/health/ready"
SIGN_UP = "/api/v1/users"
SETTLE_SECONDS = 1
SAMPLES = 100
SIGN_INS = 12
FACTOR = 3
MALLORY: Final = {"username": "mallory@example.com", "password": PASSWORD}
WRONG: Final = {"username": EMAIL, "password": "a wrong passphrase"}
ONE_ADDRESS: Final = {"X-Forwarded-For": "203.0.113.9"}
# Each request comes from another /48.
CHANGING_ADDRESSES: Final = {"X-Forwarded-For": "2001:db8:%(n)x::1"}

ATTACKS: Final = {
    "guesses over the limit": Flood(150, "POST", LOGIN, ONE_ADDRESS, form=WRONG),
    "logins of one valid account": Flood(150, "POST", LOGIN, ONE_ADDRESS, form=MALLORY),
    "logins of one valid account from many addresses": Flood(
        150, "POST", LOGIN, CHANGING_ADDRESSES, form=MALLORY
    ),
    "logins of unknown users from many addresses": Flood(
        200,
        "POST",
        LOGIN,
        CHANGING_ADDRESSES,
        form={"username": "u%(n)d@example.com", "password": PASSWORD},
    ),
    "guesses for the victim from many addresses": Flood(
        150, "POST", LOGIN, CHANGING_ADDRESSES, form=WRONG
    ),
    "sign-ups of one address": Flood(
        150,
        "POST",
        SIGN_UP,
        ONE_ADDRESS,
        json={"email": "u%(n)d@example.com", "password": PASSWORD},
    ),
    "refreshes of one session": Flood(150, "POST", REFRESH),
}


class Victim:
    """A user on a known device."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def use(self) -> tuple[float, int]:
        """Request `/users/me` repeatedly, and `/health/ready` sometimes.

        Return the 95th percentile of the duration of the first in seconds, and the number of
        failures of the second.
        """
        seconds, not_ready = [], 0
        for number in range(SAMPLES):
            started = time.perf_counter()
            response = self.browser.get(ME)
            seconds.append(time.perf_counter() - started)
            assert response.status == 200, response.body
            if number % 5 == 0:
                not_ready += Browser(self.browser.port).get(READY).status != 200
        return statistics.quantiles(seconds, n=20)[-1], not_ready

    def sign_in(self) -> list[int]:
        """Sign in several times, and return the statuses."""
        return [self.browser.post(LOGIN, CREDENTIALS).status for _ in range(SIGN_INS)]


def cookie_header(browser: Browser) -> dict[str, str]:
    """Return the header that signs a flood in like a browser."""
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_does_not_deny_service_to_others(site: Site, name: str) -> None:
    attack = ATTACKS[name]
    settings = {"LOGIN_THROTTLE_ENABLED": "true", "SIGNUP_ENABLED": "true"}
    with site.serve(DATABASE_TIMEOUT_SECONDS="30", **settings) as server:
        server.wait_until_ready()
        victim = Victim(site.sign_in(server))
        Browser(server.port).post(LOGIN, CREDENTIALS)
        site.create_user(MALLORY["username"])
        mallory = Browser(server.port)
        assert mallory.post(LOGIN, MALLORY).status == 200
        if attack.path == REFRESH:
            attack = replace(attack, headers=cookie_header(mallory))
        harmless = Flood(attack.connections, "GET", ME, cookie_header(mallory))
        with flood(server.port, harmless) as harmless_counts:
            time.sleep(SETTLE_SECONDS)
            during_harmless, not_ready_during_harmless = victim.use()
        with flood(server.port, attack) as attack_counts:
            time.sleep(SETTLE_SECONDS)
            during_attack, not_ready = victim.use()
            statuses = victim.sign_in()
    log.info(
        "%s: p95 %.0f ms, with harmless requests %.0f ms, ratio %.2f; attack %s, harmless %s",
        *(name, during_attack * 1000, during_harmless * 1000, during_attack / during_harmless),
        *(dict(attack_counts), dict(harmless_counts)),
    )
    assert set(harmless_counts) == {200}
    assert set(attack_counts) <= {200, 201, 204, 401, 409, 429, 503}
    # If the machine is fast enough for the harmless requests, the server is always ready.
    assert not_ready <= not_ready_during_harmless
    assert statuses == [200] * SIGN_INS
    assert during_attack < FACTOR * during_harmless
