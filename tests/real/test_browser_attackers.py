"""Malicious pages in the browser of a user who is signed in; see `test_browser.py`."""

import pytest
from playwright.sync_api import BrowserContext

from tests.real.app import address, kept, sees, sign_in
from tests.real.websites import ANSWERS
from tests.support.production import CREDENTIALS, EMAIL, LOGIN, LOGOUT, ME, REFRESH

# A page on another site, one on a sibling subdomain, and one with the origin null.
ATTACKERS = ("https://evil.test/", "https://evil.{}.test/", "data:text/html,<!doctype html>")


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("attacker", ATTACKERS)
def test_form_on_a_foreign_page_changes_nothing(
    person: BrowserContext, answer: str, attacker: str
) -> None:
    page = sign_in(person.new_page(), address(answer))
    before = kept(person, "refresh")
    foreign = person.new_page()
    for path in (LOGIN, REFRESH, LOGOUT):
        foreign.goto(attacker.format(answer))
        with foreign.expect_navigation() as navigation:
            foreign.evaluate(
                """([action, fields]) => {
                    const form = document.createElement("form");
                    Object.assign(form, {action, method: "POST"});
                    for (const [name, value] of Object.entries(fields)) {
                        form.append(Object.assign(document.createElement("input"), {name, value}));
                    }
                    document.body.append(form);
                    form.submit();
                }""",
                [f"https://api.{answer}.test{path}", CREDENTIALS],
            )
        assert navigation.value.status == 403
        assert "/problems/cross-site-request" in navigation.value.text()
    assert kept(person, "refresh") == before
    page.reload()
    sees(page, EMAIL)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("attacker", ATTACKERS[:2])  # Chromium blocks all local requests of null
def test_foreign_origin_cannot_read_responses(
    person: BrowserContext, answer: str, attacker: str
) -> None:
    sign_in(person.new_page(), address(answer))
    foreign = person.new_page()
    foreign.goto(attacker.format(answer))
    read = """([url, mode]) => fetch(url, {credentials: "include", mode})
        .then(async (it) => it.type + await it.text(), (error) => error.name)"""
    me = f"https://api.{answer}.test{ME}"
    assert foreign.evaluate(read, [me, "cors"]) == "TypeError"
    # A sibling can embed the response, but not read it. Another site can do neither.
    sibling = attacker == ATTACKERS[1]
    assert foreign.evaluate(read, [me, "no-cors"]) == ("opaque" if sibling else "TypeError")
    frame = """(src) => new Promise((done) => {
        const frame = Object.assign(document.createElement("iframe"), {src});
        frame.onload = () => done(frame.contentDocument);
        document.body.append(frame);
    })"""
    assert foreign.evaluate(frame, me) is None
