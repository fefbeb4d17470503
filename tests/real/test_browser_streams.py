"""WebSockets and server-sent events in a real browser, for every answer about SameSite.

The backends have the inbox of docs/streaming.md, and the app has the module of that page. See
`test_browser.py` for the sites.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from scripts.projects import project_environment
from tests.real.app import SIGNED_OUT, address, kept, sees, sign_in
from tests.real.conftest import ACCESS_SECONDS
from tests.real.frontend import STREAMS, build
from tests.real.websites import ANSWERS, backends, websites
from tests.support.pages import follow
from tests.support.postgres import Postgres
from tests.support.production import EMAIL

EVENTS, SOCKET = "/api/v1/inbox/events", "/api/v1/inbox/socket"
WELCOME = f"Welcome, {EMAIL}"
# The page of another origin tries both, without the app's module.
FOREIGN = """(host) => Promise.all([
    new Promise((done) => {
        const url = `https://${host}/api/v1/inbox/events`;
        const events = new EventSource(url, {withCredentials: true});
        events.onmessage = (event) => done(event.data);
        events.onerror = () => done(events.readyState === EventSource.CLOSED && "rejected");
    }),
    new Promise((done) => {
        const socket = new WebSocket(`wss://${host}/api/v1/inbox/socket`);
        socket.onmessage = (event) => done(event.data);
        socket.onclose = (event) => done(event.code === 1006 && "rejected");
    }),
])"""


@pytest.fixture(scope="module")
def streaming(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with the inbox."""
    copy = tmp_path_factory.mktemp("streaming") / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".venv", ".git", ".postgres"))
    (copy / ".venv").symlink_to(project / ".venv")
    follow(STREAMS, copy, project_environment(), commands=False)
    return copy


@pytest.fixture(scope="module")
def https_port(
    streaming: Path,
    postgres: Postgres,
    migrated: str,
    settings: dict[str, str],
    frontend: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[int]:
    """Return the port of the web sites whose backends have the inbox."""
    folder = tmp_path_factory.mktemp("sites")
    names = {answer: f"streams_{answer}" for answer in ANSWERS}
    for name in names.values():
        postgres.create_database(name, migrated)
    environment = project_environment() | settings | {"JWT_ACCESS_TTL_SECONDS": str(ACCESS_SECONDS)}
    urls = {answer: postgres.url(name) for answer, name in names.items()}
    with (
        backends(streaming, environment, urls, folder) as servers,
        websites(folder, build(frontend), servers) as port,
    ):
        yield port


def open_both(page: Page) -> None:
    """Open both kinds of streams in the app, and wait until both are open."""
    page.evaluate(
        f"""() => {{
            window.got = {{events: [], socket: []}};
            window.events = openEvents("{EVENTS}", (text) => got.events.push(text));
            window.socket = openSocket("{SOCKET}", (text) => got.socket.push(text));
        }}"""
    )
    receives(page, WELCOME)


def receives(page: Page, text: str) -> None:
    """Wait until both streams have received a text last."""
    page.wait_for_function(
        "(text) => got.events.at(-1) === text && got.socket.at(-1) === text", arg=text
    )


@pytest.mark.parametrize("answer", ANSWERS)
def test_streams_stay_open_until_another_device_signs_this_one_out(
    person: BrowserContext, browser: tuple[Playwright, Browser], answer: str
) -> None:
    page = sign_in(person.new_page(), address(answer))
    open_both(page)
    page.evaluate("socket.send('hello')")
    receives(page, "hello")

    # The streams outlive the access token.
    page.wait_for_timeout((ACCESS_SECONDS + 0.1) * 1000)
    assert kept(person, "access") == {}
    page.evaluate("socket.send('still here')")
    receives(page, "still here")
    assert page.evaluate("got.events.filter((text) => text.startsWith('Welcome')).length") == 1

    other = browser[1].new_context(ignore_https_errors=True)
    device = sign_in(other.new_page(), address(answer))
    device.evaluate("backend.DELETE('/api/v1/users/me/sessions')")
    other.close()

    # The server closes the streams, and the module notices that the user is signed out.
    sees(page, SIGNED_OUT)
    received = page.evaluate("got.events.length + got.socket.length")
    page.evaluate("socket.send('nobody hears this')")
    page.wait_for_timeout(100)
    assert page.evaluate("got.events.length + got.socket.length") == received


@pytest.mark.parametrize("answer", ANSWERS)
def test_page_of_another_origin_opens_no_stream(person: BrowserContext, answer: str) -> None:
    sign_in(person.new_page(), address(answer))

    for host in (f"evil.{answer}.test", "evil.test"):
        page = person.new_page()
        page.goto(f"https://{host}/")
        assert page.evaluate(FOREIGN, f"api.{answer}.test") == ["rejected", "rejected"]


def test_streams_work_at_the_origin_of_the_page(person: BrowserContext) -> None:
    open_both(sign_in(person.new_page(), "https://www.lax.test/"))
