"""Sign in with a real browser over HTTPS, for every answer to the question about SameSite.

The app is that of docs/frontend.md. For each answer NAME, the backend is at api.NAME.test, and the
app is at app.NAME.test (same site), at www.NAME.test (same origin), and at app.other.test (another
site).
"""

import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Response

from scripts.check_template import ROOT
from tests.real.app import SIGNED_OUT, address, kept, sees, sign_in, submit
from tests.real.conftest import ACCESS_SECONDS
from tests.real.frontend import check_types, check_types_of_module
from tests.real.websites import ANSWERS
from tests.support.diagrams import Call, calls, diagram
from tests.support.production import EMAIL, ME, REFRESH


def count(person: BrowserContext, path: str) -> list[str]:
    """Return a list to which all further requests to a path are added."""
    found: list[str] = []
    person.on("request", lambda it: found.append(it.url) if it.url.endswith(path) else None)
    return found


def test_frontend_passes_its_type_check(frontend: Path) -> None:
    check_types(frontend)


def test_frontend_module_compiles_before_the_types_are_generated(
    frontend: Path, tmp_path: Path
) -> None:
    check_types_of_module(frontend, tmp_path)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("site", ["same site", "same origin"])
def test_user_signs_in_and_stays_signed_in(person: BrowserContext, answer: str, site: str) -> None:
    url = address(answer) if site == "same site" else f"https://www.{answer}.test/"
    page = sign_in(person.new_page(), url)

    cookies = person.cookies()
    assert {it["name"] for it in cookies} == {"__Host-access", "__Host-refresh", "__Host-device"}
    for cookie in cookies:
        assert cookie["httpOnly"]
        assert cookie["secure"]
        assert cookie["sameSite"].lower() == answer
    stored = page.evaluate(
        "JSON.stringify([document.cookie, {...localStorage, ...sessionStorage}])"
    )
    assert stored == '["",{}]'

    page.reload()
    sees(page, EMAIL)
    page.click("text=Sign out")
    sees(page, SIGNED_OUT)
    assert [*kept(person)] == ["__Host-device"]
    page.reload()
    sees(page, SIGNED_OUT)


@pytest.mark.parametrize("answer", ANSWERS)
def test_expired_access_token_is_refreshed_automatically(
    person: BrowserContext, answer: str
) -> None:
    page = sign_in(person.new_page(), address(answer))
    page.wait_for_timeout((ACCESS_SECONDS + 0.1) * 1000)
    assert kept(person, "access") == {}

    refreshes = count(person, REFRESH)
    emails = page.evaluate(
        "Promise.all([1, 2, 3, 4, 5].map(() => session.me().then((user) => user.email)))"
    )
    assert emails == [EMAIL] * 5
    assert len(refreshes) == 1

    # The retry sends the body again: the response is about the wrong password, not the session.
    person.clear_cookies(name="__Host-access")
    wrong = "{body: {current_password: 'not it', new_password: 'a passphrase for later'}}"
    change = f"backend.PUT('{ME}/password', {wrong}).then((it) => it.response.status)"
    assert page.evaluate(change) == 422
    assert len(refreshes) == 2
    sees(page, EMAIL)


@pytest.mark.parametrize("answer", ANSWERS)
def test_two_tabs_that_refresh_concurrently_stay_signed_in(
    person: BrowserContext, answer: str
) -> None:
    tabs = [sign_in(person.new_page(), address(answer)), person.new_page()]
    tabs[1].goto(address(answer))
    sees(tabs[1], EMAIL)

    person.clear_cookies(name="__Host-access")
    refreshes = count(person, REFRESH)
    at_once(tabs, "session.me().then((user) => user.email)", [EMAIL, EMAIL])
    assert len(refreshes) == 1

    # This also works without the module, because of the backend's grace period.
    raw = f"fetch('https://api.{answer}.test{REFRESH}', {{method: 'POST', credentials: 'include'}})"
    at_once(tabs, f"{raw}.then((it) => it.status)", [204, 204])
    assert len(refreshes) == 3
    for tab in tabs:
        tab.reload()
        sees(tab, EMAIL)


def test_two_tabs_send_the_requests_of_the_readme_diagram(person: BrowserContext) -> None:
    tab, other = person.new_page(), person.new_page()
    tab.goto(address("lax"))
    sees(tab, SIGNED_OUT)
    sent = {"T": calls_of(tab)}
    submit(tab)
    sees(tab, EMAIL)
    other.goto(address("lax"))
    sees(other, EMAIL)
    sent["O"] = calls_of(other)

    person.clear_cookies(name="__Host-access")  # as when it has expired
    # No tab gets the lock before both have requested it. The first tab requests it first.
    hold = "navigator.locks.request('session at https://api.lax.test', () => held)"
    tab.evaluate(f"window.held = new Promise((done) => (window.release = done)); {hold}; 0")
    for page in (tab, other):
        with page.expect_response(lambda it: it.status == 401):
            page.evaluate("window.result = session.me(); 0")
    tab.evaluate("release()")

    assert [it.evaluate("result.then((user) => user.email)") for it in (tab, other)] == [EMAIL] * 2
    assert sent == calls(diagram(ROOT / "README.md", "sequenceDiagram"))


def calls_of(page: Page) -> list[Call]:
    """Return a list to which all further requests of a page to the API are added."""
    found: list[Call] = []

    def add(response: Response) -> None:
        path = urlsplit(response.url).path
        if path.startswith("/api/"):
            found.append((response.request.method, path, response.status))

    page.on("response", add)
    return found


def at_once(tabs: list[Page], script: str, expected: list[object]) -> None:
    """Run a script in several tabs at the same time, and check the results."""
    moment = time.time() * 1000 + 300
    for tab in tabs:
        wait = f"new Promise((done) => setTimeout(done, {moment} - Date.now()))"
        tab.evaluate(f"window.result = {wait}.then(() => {script}); 0")
    assert [tab.evaluate("window.result") for tab in tabs] == expected


@pytest.mark.parametrize("answer", ANSWERS)
def test_signing_out_in_one_tab_signs_out_the_other(person: BrowserContext, answer: str) -> None:
    one, other = sign_in(person.new_page(), address(answer)), person.new_page()
    other.goto(address(answer))
    sees(other, EMAIL)

    one.click("text=Sign out")

    sees(other, SIGNED_OUT)
    assert [*kept(person)] == ["__Host-device"]
    assert other.evaluate("session.me()") is None
