"""Which frontends work with which answer about SameSite; see `test_browser.py`.

Combinations that do not work are also tested, so that docs/frontend.md is correct.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright

from scripts.projects import project_environment, python_of
from tests.real.app import NOT_KEPT, SIGNED_OUT, address, follow, kept, sees, sign_in, submit
from tests.real.chromium import profile
from tests.real.websites import ANSWERS, SITES
from tests.support.commands import run
from tests.support.production import EMAIL, ME


@pytest.mark.parametrize("answer", ANSWERS)
def test_link_from_another_site_sends_cookies_except_with_strict(
    person: BrowserContext, answer: str
) -> None:
    sign_in(person.new_page(), address(answer))
    page = person.new_page()

    # The app's own requests come from its own site, regardless of the link.
    follow(page, address(answer))
    sees(page, EMAIL)
    # A page of the backend gets the cookies that the browser sends with the link.
    me = f"https://api.{answer}.test{ME}"
    follow(page, me)
    page.wait_for_url(me)
    assert (EMAIL in page.content()) == (answer != "strict")
    assert ("not-signed-in" in page.content()) == (answer == "strict")


@pytest.mark.parametrize("answer", ANSWERS)
def test_frontend_on_another_site_works_only_with_none(
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


def test_none_does_not_work_if_third_party_cookies_are_blocked(
    browser: tuple[Playwright, Browser], https_port: int, tmp_path: Path
) -> None:
    with profile(browser[0], https_port, tmp_path, third_party_cookies=False) as person:
        page = person.new_page()
        page.goto(address("none", "app.other.test"))
        sees(page, SIGNED_OUT)
        submit(page)
        sees(page, NOT_KEPT)
        sign_in(page, address("none"))  # on the same site, nothing is blocked


def test_none_does_not_work_in_an_incognito_window(person: BrowserContext) -> None:
    page = person.new_page()  # Playwright's own contexts are such windows
    page.goto(address("none", "app.other.test"))
    sees(page, SIGNED_OUT)
    submit(page)
    sees(page, NOT_KEPT)


def test_serve_rejects_samesite_none_without_secure_cookies(
    project: Path, settings: dict[str, str]
) -> None:
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
def test_host_names_are_same_site_as_documented(
    person: BrowserContext, one: str, other: str, relation: str
) -> None:
    page = person.new_page()
    page.goto(one)
    assert page.evaluate("(url) => fetch(url).then((it) => it.text())", other) == relation
