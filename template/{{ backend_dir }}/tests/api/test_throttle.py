import asyncio
from ipaddress import ip_network

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.services.rate_limits import HOUR, IPV6_NETWORKS, RateLimit, address_limits
from app.services.users import PublicUser
from tests.conftest import (
    PASSWORD,
    AppFactory,
    ClientFactory,
    add_user,
    advance_time,
    log_in,
    raise_shared_count,
)

WRONG = "a wrong passphrase"
QUARTER_HOUR = 15 * 60


async def guess(client: httpx.AsyncClient, email: str, times: int) -> list[int]:
    return [(await log_in(client, email, WRONG)).status_code for _ in range(times)]


async def sign_up(client: httpx.AsyncClient, *emails: str) -> list[int]:
    bodies = [{"email": email, "password": PASSWORD} for email in emails]
    return [(await client.post("/api/v1/users", json=body)).status_code for body in bodies]


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com", "no address"])
async def test_sixth_guess_from_one_address_is_rejected(
    client: httpx.AsyncClient, ada: PublicUser, email: str
) -> None:
    assert await guess(client, email, 5) == [401] * 5
    response = await log_in(client, email)

    assert response.status_code == 429
    assert response.json()["type"] == "/problems/too-many-attempts"
    assert QUARTER_HOUR - 5 <= int(response.headers["retry-after"]) <= QUARTER_HOUR


async def test_only_five_of_fifty_concurrent_guesses_are_hashed(
    app: FastAPI, client: httpx.AsyncClient, ada: PublicUser
) -> None:
    verify = app.state.hasher.verify
    hashed: list[str] = []

    async def count(password: str, stored: str | None, *_: object) -> tuple[bool, str | None]:
        hashed.append(password)
        result: tuple[bool, str | None] = await verify(password, stored)
        return result

    app.state.hasher.verify = count
    responses = await asyncio.gather(*(log_in(client, ada.email, WRONG) for _ in range(50)))

    statuses = sorted(response.status_code for response in responses)
    assert statuses == [401] * 5 + [429] * 45
    assert len(hashed) == 5


async def test_user_can_sign_in_after_the_rate_limit_period(
    client: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection
) -> None:
    await guess(client, ada.email, 6)
    await advance_time(db, QUARTER_HOUR)

    assert (await log_in(client, ada.email)).status_code == 200


async def test_user_can_sign_in_from_another_address(
    app: FastAPI, client: httpx.AsyncClient, make_client: ClientFactory, ada: PublicUser
) -> None:
    await guess(client, ada.email, 6)
    elsewhere = make_client(app, address=("198.51.100.7", 1))

    assert (await log_in(elsewhere, ada.email)).status_code == 200


async def test_rejected_attempts_do_not_count_for_any_limit(
    app: FastAPI,
    client: httpx.AsyncClient,
    make_client: ClientFactory,
    ada: PublicUser,
    db: asyncpg.Connection,
) -> None:
    # Some of them are rejected when they are counted, and the later ones before.
    responses = await asyncio.gather(*(log_in(client, ada.email, WRONG) for _ in range(20)))
    assert sorted(response.status_code for response in responses) == [401] * 5 + [429] * 15
    assert await guess(client, ada.email, 2) == [429] * 2
    counts = [row["attempts"] for row in await db.fetch("SELECT attempts FROM attempt_counts")]
    elsewhere = make_client(app, address=("198.51.100.7", 1))

    assert counts == [5] * 3
    assert (await log_in(elsewhere, ada.email)).status_code == 200


async def test_email_has_a_limit_across_all_addresses(
    app: FastAPI, make_client: ClientFactory, ada: PublicUser, db: asyncpg.Connection
) -> None:
    clients = [make_client(app, address=(f"198.51.100.{number}", 1)) for number in range(4)]
    assert [await guess(client, ada.email, 1) for client in clients[:2]] == [[401]] * 2
    await raise_shared_count(db, limits=1, attempts=99)

    assert await guess(clients[2], ada.email, 1) == [401]
    assert (await log_in(clients[3], ada.email)).status_code == 429


async def test_address_has_a_limit_across_all_emails(
    app: FastAPI, make_client: ClientFactory, ada: PublicUser, db: asyncpg.Connection
) -> None:
    client = make_client(app, address=("2001:db8::1", 1))
    assert [await guess(client, f"user{n}@example.com", 1) for n in range(2)] == [[401]] * 2
    await raise_shared_count(db, limits=len(IPV6_NETWORKS), attempts=49)
    assert await guess(client, "user2@example.com", 1) == [401]

    neighbor = make_client(app, address=("2001:db8::ffff", 1))
    assert (await log_in(neighbor, ada.email)).status_code == 429
    other_network = make_client(app, address=("2001:db8:0:1::1", 1))
    assert (await log_in(other_network, ada.email)).status_code == 200


@pytest.mark.parametrize(("prefix", "factor"), [(64, 1), (56, 4), (48, 16)])
def test_larger_ipv6_networks_have_limits_too(prefix: int, factor: int) -> None:
    limits = {limit.subject: limit.attempts for limit in address_limits("2001:db8:1:2:3:4:5:6")}

    assert limits[str(ip_network(f"2001:db8:1:2::/{prefix}", strict=False))] == 50 * factor


async def test_one_customer_cannot_use_a_new_network_for_each_guess(
    app: FastAPI, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    clients = [make_client(app, address=(f"2001:db8:0:{number}::1", 1)) for number in range(4)]
    assert [await guess(clients[n], f"user{n}@example.com", 1) for n in range(2)] == [[401]] * 2
    await raise_shared_count(db, limits=2, attempts=199)  # those of the /56 and of the /48
    statuses = [await guess(clients[n], f"user{n}@example.com", 1) for n in range(2, 4)]

    assert statuses == [[401], [429]]


async def test_ipv4_mapped_ipv6_address_is_the_same_client(
    app: FastAPI, make_client: ClientFactory, ada: PublicUser
) -> None:
    await guess(make_client(app, address=("192.0.2.9", 1)), ada.email, 5)
    mapped = make_client(app, address=("::ffff:192.0.2.9", 1))

    assert (await log_in(mapped, ada.email)).status_code == 429


async def test_client_without_an_address_is_rate_limited(
    app: FastAPI, make_client: ClientFactory, ada: PublicUser
) -> None:
    assert await guess(make_client(app, address=("", 0)), ada.email, 6) == [401] * 5 + [429]


async def test_success_is_not_counted_as_a_guess(
    app: FastAPI, client: httpx.AsyncClient, make_client: ClientFactory, ada: PublicUser
) -> None:
    await guess(client, ada.email, 4)
    for _ in range(3):
        # Each time on a new device, so that all these attempts have the same limits.
        assert (await log_in(make_client(app), ada.email)).status_code == 200
    assert await guess(make_client(app), ada.email, 2) == [401, 429]


async def test_successful_logins_of_an_account_are_limited(
    client: httpx.AsyncClient, ada: PublicUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [RateLimit("successful login", str(ada.id), 3, HOUR)]
    monkeypatch.setattr("app.services.sessions.login.success_limits", lambda _: few)
    statuses = [(await log_in(client, ada.email)).status_code for _ in range(5)]

    assert statuses == [200] * 3 + [429] * 2


async def test_successful_password_changes_are_limited(
    signed_in: httpx.AsyncClient, ada: PublicUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [RateLimit("password change", str(ada.id), 2, HOUR)]
    monkeypatch.setattr("app.services.passwords.change.password_change_limits", lambda _: few)
    body = {"current_password": PASSWORD, "new_password": PASSWORD}
    url = "/api/v1/users/me/password"
    statuses = [(await signed_in.put(url, json=body)).status_code for _ in range(4)]

    assert statuses == [204] * 2 + [429] * 2


async def test_client_over_its_limit_does_not_wait_for_a_lock(
    client: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection
) -> None:
    await guess(client, ada.email, 5)
    async with db.transaction():
        await db.execute("SELECT FROM attempt_counts FOR UPDATE")
        assert await guess(client, ada.email, 3) == [429] * 3


async def test_requests_that_wait_for_a_lock_do_not_exhaust_the_pool(
    make_app: AppFactory, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    async with make_app(database_pool_size=2, database_max_overflow=1) as app:
        ada = await add_user(app, "ada@example.com")
        client = make_client(app)
        await log_in(client, ada.email)
        async with db.transaction():
            await db.execute("SELECT FROM attempt_counts FOR UPDATE")
            await db.execute("SELECT FROM users FOR UPDATE")
            waiting = [asyncio.create_task(log_in(make_client(app), ada.email)) for _ in range(4)]
            waiting += [asyncio.create_task(client.post("/api/v1/auth/refresh")) for _ in range(4)]
            while await db.fetchval("SELECT count(*) < 2 FROM pg_locks WHERE NOT granted"):
                pass
            assert (await client.get("/api/v1/users/me")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 200
            assert not any(task.done() for task in waiting)
        statuses = {response.status_code for response in await asyncio.gather(*waiting)}

    assert statuses == {200, 204}


async def test_typed_text_is_not_stored(
    client: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection
) -> None:
    await guess(client, "my-password-by-mistake", 1)
    rows = [dict(row) for row in await db.fetch("SELECT * FROM attempt_counts")]

    assert len(rows) == 3
    assert "password" not in str(rows)
    assert all(len(row["key"]) == 32 for row in rows)


async def test_rate_limit_holds_during_a_secret_rotation(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    old, new = "the-old-secret-0123456789-abcdefghijkl", "the-new-secret-9876543210-zyxwvutsrqpo"
    phases = [
        {"jwt_secret": old},
        {"jwt_secret": old, "jwt_previous_secrets": new},
        {"jwt_secret": new, "jwt_previous_secrets": old},
        {"jwt_secret": new},
    ]
    statuses = []
    for phase, guesses in zip(phases, (2, 1, 2, 1), strict=True):
        async with make_app(**phase) as app:
            statuses += await guess(make_client(app), "ada@example.com", guesses)

    # The last phase shares no secret with the first, so only three of the earlier guesses count.
    assert statuses == [401] * 6
    async with make_app(**phases[2]) as app:
        assert await guess(make_client(app), "ada@example.com", 1) == [429]


async def test_rate_limits_can_be_disabled(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app(login_throttle_enabled=False) as app:
        assert await guess(make_client(app), "ada@example.com", 7) == [401] * 7


async def test_sign_up_is_limited_by_address(
    make_app: AppFactory, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    async with make_app(signup_mode="open") as app:
        await add_user(app, "ada@example.com")
        client = make_client(app)
        statuses = await sign_up(client, *["ada@example.com"] * 2)
        await raise_shared_count(db, limits=1, attempts=49)
        statuses += await sign_up(client, *["ada@example.com"] * 2)

    assert statuses == [409] * 3 + [429]


async def test_new_accounts_per_address_are_limited(
    make_app: AppFactory, make_client: ClientFactory, db: asyncpg.Connection
) -> None:
    async with make_app(signup_mode="open") as app:
        client = make_client(app)
        statuses = await sign_up(client, "u0@example.com", "u1@example.com")
        await raise_shared_count(db, limits=1, attempts=49)
        statuses += await sign_up(client, "u2@example.com", "u3@example.com", "u4@example.com")

    assert statuses == [201] * 3 + [429] * 2


async def test_guesses_at_the_current_password_are_limited(signed_in: httpx.AsyncClient) -> None:
    body = {"current_password": WRONG, "new_password": "another long passphrase"}
    statuses = [
        (await signed_in.put("/api/v1/users/me/password", json=body)).status_code for _ in range(6)
    ]

    assert statuses == [422] * 5 + [429]


async def test_forged_forwarded_address_does_not_bypass_the_limit(
    app: FastAPI, make_client: ClientFactory, ada: PublicUser, caplog: pytest.LogCaptureFixture
) -> None:
    # Uvicorn wraps the application like this, with the proxies of FORWARDED_ALLOW_IPS.
    served = ProxyHeadersMiddleware(app, ["127.0.0.1"])  # type: ignore[arg-type]  # ASGI twice
    attacker = make_client(served, address=("192.0.2.1", 1))
    statuses = []
    for number in range(6):
        forged = {"x-forwarded-for": f"203.0.113.{number}"}
        statuses.append((await log_in(attacker, ada.email, WRONG, headers=forged)).status_code)

    assert statuses == [401] * 5 + [429]
    assert caplog.text.count("untrusted_proxy") == 1
    assert "FORWARDED_ALLOW_IPS" in caplog.text


async def test_clients_behind_a_trusted_proxy_have_separate_limits(
    app: FastAPI, make_client: ClientFactory, ada: PublicUser, caplog: pytest.LogCaptureFixture
) -> None:
    served = ProxyHeadersMiddleware(app, ["127.0.0.1"])  # type: ignore[arg-type]  # ASGI twice
    proxy = make_client(served, address=("127.0.0.1", 1))
    # The proxy adds the last address. The client can write anything before it.
    attacker = {"x-forwarded-for": "198.51.100.1, 203.0.113.5"}
    for _ in range(5):
        await log_in(proxy, ada.email, WRONG, headers=attacker)
    owner = {"x-forwarded-for": "203.0.113.6"}

    assert (await log_in(proxy, ada.email, WRONG, headers=attacker)).status_code == 429
    assert (await log_in(proxy, ada.email, headers=owner)).status_code == 200
    assert "untrusted_proxy" not in caplog.text
