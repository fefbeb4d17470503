"""Which frontend, on which site, works with which answer about SameSite; see `test_browser.py`.

What an answer makes impossible is tested too, so that docs/frontend.md says what is true.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright

from hooks.projects import project_environment, python_of
from tests.commands import run
from tests.production import EMAIL, ME
from tests.real.app import NOT_KEPT, SIGNED_OUT, address, kept, sees, sign_in, submit
from tests.real.chromium import profile
from tests.real.websites import ANSWERS, SITES


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_link_from_elsewhere_arrives_signed_in_but_under_strict(
    person: BrowserContext, answer: str
) -> None:
    sign_in(person.new_page(), address(answer))
    page = person.new_page()

    def follow(url: str) -> None:
        page.goto("https://evil.test/")
        page.evaluate("(href) => Object.assign(document.createElement('a'), {href}).click()", url)
        page.wait_for_url(url)

    # The app's own requests come from its own site, whoever linked to it.
    follow(address(answer))
    sees(page, EMAIL)
    # A page of the backend itself gets what the browser sends along with the link.
    follow(f"https://api.{answer}.test{ME}")
    assert (EMAIL in page.content()) == (answer != "strict")
    assert ("not-signed-in" in page.content()) == (answer == "strict")


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_frontend_on_another_site_works_under_none_alone(
    browser: tuple[Playwright, Browser], https_port: int, tmp_path: Path, answer: str
) -> None:
    with profile(browser[0], https_port, tmp_path, third_party_cookies=True) as person:
        page = person.new_page()
        page.goto(address(answer, "app.other.test"))
        sees(page, SIGNED_OUT)
        submit(page)
        if answer == "none":
            sees(page, EMAIL)
            page.reload()
            sees(page, EMAIL)
        else:
            sees(page, NOT_KEPT)
            assert kept(person) == {}


def test_none_does_not_work_where_third_party_cookies_are_blocked(
    browser: tuple[Playwright, Browser], https_port: int, tmp_path: Path
) -> None:
    with profile(browser[0], https_port, tmp_path, third_party_cookies=False) as person:
        page = person.new_page()
        page.goto(address("none", "app.other.test"))
        sees(page, SIGNED_OUT)
        submit(page)
        sees(page, NOT_KEPT)
        sign_in(page, address("none"))  # on one site nothing is blocked


def test_none_does_not_work_in_an_incognito_window(person: BrowserContext) -> None:
    page = person.new_page()  # Playwright's own contexts are such windows
    page.goto(address("none", "app.other.test"))
    sees(page, SIGNED_OUT)
    submit(page)
    sees(page, NOT_KEPT)


def test_none_without_secure_does_not_start(project: Path, settings: dict[str, str]) -> None:
    environment = project_environment() | settings
    environment |= {
        "DATABASE_URL": "postgresql://127.0.0.1/unused",
        "ENVIRONMENT": "local",
        "COOKIE_SAMESITE": "none",
        "COOKIE_SECURE": "false",
    }
    output = run([python_of(project), "-m", "app", "serve"], project, environment, exit_code=2)
    assert "COOKIE_SAMESITE" in output


@pytest.mark.parametrize(("one", "other", "relation"), SITES)
def test_names_are_one_site_as_the_page_says(
    person: BrowserContext, one: str, other: str, relation: str
) -> None:
    page = person.new_page()
    page.goto(one)
    assert page.evaluate("(url) => fetch(url).then((it) => it.text())", other) == relation
