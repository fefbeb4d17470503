"""Two `serve` processes on one database, and password hashes with the cost of production."""

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import asyncpg
import httpx
import pytest

from app.core.emails import normalize_email
from app.core.security import PasswordHasher
from app.services.users import create_user
from tests.conftest import (
    HANG_SECONDS,
    PASSWORD,
    SECRET,
    AppFactory,
    ClientFactory,
    add_user,
    cookie,
    log_in,
)
from tests.processes import serving

# The measurement of coverage would make these tests too slow.
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

OTHER_SECRET = "another-secret-of-the-three-deploys-0123"
ME, REFRESH = "/api/v1/users/me", "/api/v1/auth/refresh"
ROUNDS = int(os.environ.get("RACE_ROUNDS", "40"))
REQUESTS = 20


@pytest.fixture
def replicas(test_database: str, db: asyncpg.Connection) -> Iterator[list[str]]:
    """Return the URLs of two `serve` processes during a secret rotation."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                serving(
                    test_database,
                    DATABASE_POOL_SIZE=str(REQUESTS),
                    JWT_SECRET=secret,
                    JWT_PREVIOUS_SECRETS=previous,
                    REFRESH_GRACE_SECONDS="60",
                )
            )
            for secret, previous in ((SECRET, OTHER_SECRET), (OTHER_SECRET, SECRET))
        ]


@pytest.fixture
async def ada(make_app: AppFactory, db: asyncpg.Connection) -> None:
    """Create a user whose password was hashed with the cost of production."""
    hasher = PasswordHasher(12)
    async with make_app() as app, app.state.database.sessions() as session, session.begin():
        password_hash = await hasher.hash(PASSWORD)
        await create_user(session, normalize_email("ada@example.com"), password_hash)
    hasher.close()


@pytest.fixture
async def browsers(replicas: list[str]) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Return the tabs of one browser, which alternate between the two replicas."""
    tabs = [
        httpx.AsyncClient(base_url=replicas[n % 2], timeout=HANG_SECONDS) for n in range(REQUESTS)
    ]
    yield tabs
    for tab in tabs:
        await tab.aclose()


@pytest.mark.usefixtures("ada")
async def test_tabs_on_two_replicas_get_the_same_token(
    browsers: list[httpx.AsyncClient], db: asyncpg.Connection
) -> None:
    for _ in range(ROUNDS):
        browsers[0].cookies.clear()
        assert (await log_in(browsers[0], "ada@example.com")).status_code == 200
        for tab in browsers[1:]:
            tab.cookies = httpx.Cookies(browsers[0].cookies)
        responses = await asyncio.gather(*(tab.post(REFRESH) for tab in browsers))

        assert Counter(response.status_code for response in responses) == {204: REQUESTS}
        assert len({cookie(tab, "refresh") for tab in browsers}) == 1
        # Each replica accepts access tokens of the other, whichever secret signed them.
        assert (await browsers[1].get(ME)).status_code == 200
    few = "SELECT count(*) <= 20 FROM refresh_tokens WHERE revoked_at IS NULL"
    assert await db.fetchval(few)


@pytest.mark.usefixtures("ada")
async def test_guesses_on_two_replicas_share_one_limit(browsers: list[httpx.AsyncClient]) -> None:
    responses = await asyncio.gather(
        *(log_in(tab, "ada@example.com", "a wrong passphrase") for tab in browsers)
    )

    statuses = Counter(response.status_code for response in responses)
    assert statuses == {401: 5, 429: REQUESTS - 5}


@pytest.mark.usefixtures("ada")
async def test_hashing_does_not_block_the_event_loop(
    make_app: AppFactory, make_client: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    responses = 0
    during_hashes: list[int] = []

    async with make_app(environment="staging", login_throttle_enabled=False) as app:
        verify = app.state.hasher._verify

        def verify_and_count(password: str, hashed: str | None) -> object:
            before = responses
            result = verify(password, hashed)
            during_hashes.append(responses - before)
            return result

        monkeypatch.setattr(app.state.hasher, "_verify", verify_and_count)
        health = make_client(app)
        logins = [
            asyncio.create_task(log_in(make_client(app), "ada@example.com")) for _ in range(8)
        ]
        while not all(login.done() for login in logins):
            assert (await health.get("/health")).status_code == 200
            responses += 1
            await asyncio.sleep(0)  # nothing else in this loop lets the logins continue
        assert {(await login).status_code for login in logins} == {200}

    # A busy machine slows down hashes and responses alike. More than four responses per hash mean
    # that a response takes less than a quarter of the time of a hash.
    assert len(during_hashes) == 8
    assert min(during_hashes) > 4, during_hashes


@pytest.mark.usefixtures("ada")
async def test_an_unknown_user_takes_as_long_as_a_wrong_password(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app(environment="staging", login_throttle_enabled=False) as app:
        client = make_client(app)
        seconds: dict[str, list[float]] = {"nobody@example.com": [], "ada@example.com": []}
        for _ in range(15):  # the very first request is for the unknown user
            for email, times in seconds.items():
                # Processor time of all threads, which excludes other programs.
                start = time.process_time()
                assert (await log_in(client, email, "a wrong passphrase")).status_code == 401
                times.append(time.process_time() - start)

    unknown, wrong = (statistics.median(times) for times in seconds.values())
    assert 0.75 < unknown / wrong < 1.25
    assert seconds["nobody@example.com"][0] < 2 * unknown


async def test_email_link_takes_the_same_time_for_known_and_unknown_addresses(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    mail = {"smtp_url": "smtp://127.0.0.1:1", "mail_from": "no-reply@example.com"}
    async with make_app(**mail, login_throttle_enabled=False, signup_mode="email") as app:
        await add_user(app, "ada@example.com")
        client = make_client(app)
        seconds: dict[str, list[float]] = {"nobody@example.com": [], "ada@example.com": []}
        for _ in range(200):
            for email, times in seconds.items():
                # Processor time of all threads, which excludes other programs.
                start = time.process_time()
                response = await client.post("/api/v1/auth/email-link", json={"email": email})
                times.append(time.process_time() - start)
                assert response.status_code == 202

    unknown, known = (statistics.median(times) for times in seconds.values())
    assert 0.75 < unknown / known < 1.25
