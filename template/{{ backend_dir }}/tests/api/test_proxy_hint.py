"""The hint for an operator if an address is missing in `FORWARDED_ALLOW_IPS`."""

import httpx
import pytest
from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.conftest import ClientFactory

FLY_PROXY, OWN_ADDRESS = "172.16.0.9", "66.241.125.7"


def behind_proxy(app: FastAPI, make_client: ClientFactory, *trusted: str) -> httpx.AsyncClient:
    """Return a client whose requests pass a proxy, with the middleware that Uvicorn adds."""
    served = ProxyHeadersMiddleware(app, list(trusted))  # type: ignore[arg-type]  # ASGI twice
    return make_client(served, address=(FLY_PROXY, 1))


async def send(client: httpx.AsyncClient, *headers: str) -> None:
    for header in headers:
        await client.get("/health", headers={"x-forwarded-for": header})


async def test_untrusted_proxy_address_is_reported_once(
    app: FastAPI, make_client: ClientFactory, caplog: pytest.LogCaptureFixture
) -> None:
    client = behind_proxy(app, make_client, "172.16.0.0/12")
    await send(client, *(f"8.8.4.{number}, {OWN_ADDRESS}" for number in range(9)))

    (line,) = [it.msg for it in caplog.records if isinstance(it.msg, dict)]
    assert (line["event"], line["peer"]) == ("untrusted_proxy", OWN_ADDRESS)
    assert "FORWARDED_ALLOW_IPS" in line["hint"]


@pytest.mark.parametrize(
    "headers",
    [
        [f"8.8.4.{n}, {OWN_ADDRESS}" for n in range(9)],
        [f"1.2.3.{n}, 8.8.4.{n}, {OWN_ADDRESS}" for n in range(9)],
        ["1.2.3.4, 8.8.4.4, 66.241.125.7"] * 9,
    ],
    ids=["clients", "clients that forge an address", "a client that forges an address"],
)
async def test_no_hint_is_logged_if_all_proxies_are_trusted(
    app: FastAPI, make_client: ClientFactory, caplog: pytest.LogCaptureFixture, headers: list[str]
) -> None:
    client = behind_proxy(app, make_client, "172.16.0.0/12", OWN_ADDRESS)
    await send(client, *headers)
    assert "untrusted_proxy" not in caplog.text


@pytest.mark.parametrize("header", ["10.0.0.{n}, 8.8.4.4", "nonsense {n}, 8.8.4.4", "8.8.4.{n}"])
async def test_no_hint_is_logged_for_private_or_invalid_addresses(
    app: FastAPI, make_client: ClientFactory, caplog: pytest.LogCaptureFixture, header: str
) -> None:
    client = behind_proxy(app, make_client, "172.16.0.0/12")
    await send(client, *(header.format(n=n) for n in range(9)))
    assert "untrusted_proxy" not in caplog.text
