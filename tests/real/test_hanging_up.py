"""A client that closes the connection in the middle of a refresh."""

import socket
import struct
import time
from collections.abc import Callable

import pytest

from tests.support.client import Browser
from tests.support.production import LOCK_USER, ME, REFRESH, Site
from tests.support.servers import Server, wait_until

ROUNDS = 12
REFRESH_COOKIE = "__Host-refresh"


def send_refresh(browser: Browser) -> socket.socket:
    """Send a refresh without waiting for the response."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    connection = socket.create_connection(("127.0.0.1", browser.port))
    connection.sendall(
        f"POST {REFRESH} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n"
        "Content-Length: 0\r\n\r\n".encode()
    )
    return connection


def reset(connection: socket.socket) -> None:
    """Close the connection immediately like a network failure, without sending pending data."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def assert_session_is_intact(site: Site, lost: Browser) -> None:
    """Check that all tabs get the same successor of the old cookie, and that it is current."""
    tabs = [Browser(lost.port, dict(lost.cookies)) for _ in range(2)]
    assert [tab.post(REFRESH).status for tab in tabs] == [204, 204]
    assert tabs[0].cookies[REFRESH_COOKIE] == tabs[1].cookies[REFRESH_COOKIE]
    assert tabs[0].cookies[REFRESH_COOKIE] != lost.cookies[REFRESH_COOKIE]
    assert tabs[0].get(ME).status == 200
    assert tabs[0].post(REFRESH).status == 204
    active = "SELECT count(*) FROM {} WHERE revoked_at IS NULL"
    assert site.query(active.format("refresh_tokens")) == site.query(active.format("sessions"))


@pytest.mark.parametrize("disconnect", [socket.socket.close, reset], ids=["closed", "reset"])
def test_session_is_intact_after_a_client_disconnects_in_a_refresh(
    site: Site, replica: Server, disconnect: Callable[[socket.socket], None]
) -> None:
    browser = site.sign_in(replica)
    with site.postgres.holding(LOCK_USER, site.database):
        connection = send_refresh(browser)
        wait_until(lambda: site.waiting_for_a_lock() == 1, "it does not wait")
        disconnect(connection)
    assert_session_is_intact(site, browser)


def test_session_is_intact_whenever_a_client_disconnects(site: Site, replica: Server) -> None:
    for number in range(ROUNDS):
        browser = site.sign_in(replica)
        connection = send_refresh(browser)
        time.sleep(number / 1000)  # a refresh takes about 10 ms
        reset(connection)
        assert_session_is_intact(site, browser)
    wait_until(lambda: site.connections("state <> 'idle'") == 0, "a transaction stays open")
    assert "Traceback" not in replica.output()
