"""A client that hangs up in the middle of a refresh."""

import socket
import struct
import time
from collections.abc import Callable

import pytest

from tests.client import Browser
from tests.production import LOCK_USER, ME, REFRESH, Site
from tests.servers import Server, wait_until

ROUNDS = 12
REFRESH_COOKIE = "__Host-refresh"


def send_refresh(browser: Browser) -> socket.socket:
    """Send a refresh and wait for nothing."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    connection = socket.create_connection(("127.0.0.1", browser.port))
    connection.sendall(
        f"POST {REFRESH} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n"
        "Content-Length: 0\r\n\r\n".encode()
    )
    return connection


def reset(connection: socket.socket) -> None:
    """Hang up as a dead network does: at once, whatever is still under way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def assert_session_is_whole(site: Site, lost: Browser) -> None:
    """Check that every tab gets the same successor of the old cookie, which is then current."""
    tabs = [Browser(lost.port, dict(lost.cookies)) for _ in range(2)]
    assert [tab.post(REFRESH).status for tab in tabs] == [204, 204]
    assert tabs[0].cookies[REFRESH_COOKIE] == tabs[1].cookies[REFRESH_COOKIE]
    assert tabs[0].cookies[REFRESH_COOKIE] != lost.cookies[REFRESH_COOKIE]
    assert tabs[0].get(ME).status == 200
    assert tabs[0].post(REFRESH).status == 204
    living = "SELECT count(*) FROM {} WHERE revoked_at IS NULL"
    assert site.query(living.format("refresh_tokens")) == site.query(living.format("sessions"))


@pytest.mark.parametrize("hang_up", [socket.socket.close, reset], ids=["closed", "reset"])
def test_a_session_is_whole_after_its_client_hung_up_in_a_refresh(
    site: Site, replica: Server, hang_up: Callable[[socket.socket], None]
) -> None:
    browser = site.sign_in(replica)
    with site.postgres.holding(LOCK_USER, site.database):
        connection = send_refresh(browser)
        wait_until(lambda: site.waiting_for_a_lock() == 1, "it does not wait")
        hang_up(connection)
    assert_session_is_whole(site, browser)


def test_a_session_is_whole_whenever_its_client_hung_up(site: Site, replica: Server) -> None:
    for number in range(ROUNDS):
        browser = site.sign_in(replica)
        connection = send_refresh(browser)
        time.sleep(number / 1000)  # a refresh takes about 10 ms
        reset(connection)
        assert_session_is_whole(site, browser)
    wait_until(lambda: site.connections("state <> 'idle'") == 0, "a transaction stays open")
    assert "Traceback" not in replica.output()
