"""The account flows by mail in Chromium: from a form, to the message, and back with its link.

The pages are those of docs/frontend.md, the links are followed from a page on another site, and the
messages come through an SMTP server. See `test_browser.py` for the sites.
"""

import re
import socket
import ssl
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from tests.real.app import (
    LINK_REQUESTED,
    SIGNED_OUT,
    address,
    follow,
    kept,
    says,
    sees,
    send_form,
    sign_in,
    submit,
)
from tests.real.mail_server import MailServer
from tests.real.websites import ACCESS_LOG, ANSWERS
from tests.support.postgres import Postgres
from tests.support.production import EMAIL, NUMBERS, PASSWORD
from tests.support.servers import wait_until

NEW_PASSWORD = "another passphrase for tests"
INVALID_LINK = "The link is no longer valid. Request another."
WRONG_CREDENTIALS = "Email or password is wrong."

RESET = "Choose a new password"
SIGN_UP = "Create your account"
CONFIRM = "Confirm your address"

AddUser = Callable[[str], str]


def new_email() -> str:
    """Return an address that no other test uses."""
    return f"user-{next(NUMBERS)}@example.com"


@pytest.fixture
def add_user(postgres: Postgres, databases: dict[str, str]) -> AddUser:
    """Return a function that adds a user with an unverified address to the backend of an answer."""

    def add(answer: str) -> str:
        email = new_email()
        postgres.query(
            "INSERT INTO users (email, password_hash) "  # noqa: S608
            f"SELECT '{email}', password_hash FROM users WHERE email = '{EMAIL}'",
            databases[answer],
        )
        return email

    return add


def open_page(page: Page, answer: str, path: str) -> None:
    """Open one of the app's pages."""
    page.goto(f"https://app.{answer}.test{path}")


def request_link(page: Page, answer: str, path: str, email: str) -> None:
    """Ask for a link on one of the app's pages."""
    open_page(page, answer, path)
    send_form(page, "request-link", email=email)
    says(page, LINK_REQUESTED)


def expire_access(person: BrowserContext) -> None:
    """Remove the access cookie, as when it has expired."""
    person.clear_cookies(name="__Host-access")


@pytest.mark.parametrize("answer", ANSWERS)
def test_visitor_signs_up_by_mail(
    person: BrowserContext, mail_server: MailServer, answer: str
) -> None:
    page, email = person.new_page(), new_email()
    request_link(page, answer, "/sign-up", email)
    link = mail_server.link_to(email, SIGN_UP)
    assert re.fullmatch(rf"https://app\.{answer}\.test/sign-up#token=[\w-]{{43}}", link)

    follow(page, link)
    send_form(page, "set-password", password=NEW_PASSWORD)
    says(page, f"You are signed in as {email}.")

    page.goto(address(answer))
    sees(page, email)
    assert page.evaluate("session.me().then((user) => user.email_verified)") is True


@pytest.mark.parametrize("answer", ANSWERS)
def test_forgotten_password_is_replaced(
    person: BrowserContext,
    browser: tuple[Playwright, Browser],
    mail_server: MailServer,
    add_user: AddUser,
    answer: str,
) -> None:
    email = add_user(answer)
    other = browser[1].new_context(ignore_https_errors=True)
    elsewhere = sign_in(other.new_page(), address(answer), email)
    page = person.new_page()
    request_link(page, answer, "/reset", email)

    follow(page, mail_server.link_to(email, RESET))
    send_form(page, "set-password", password="short")
    says(page, "The password needs at least 15 characters.")
    send_form(page, "set-password", password=NEW_PASSWORD)
    says(page, f"You are signed in as {email}.")
    mail_server.message_to(email, "Your password for My Backend was changed")

    # The other device is signed out, and only the new password works there.
    elsewhere.reload()
    sees(elsewhere, SIGNED_OUT)
    submit(elsewhere, email)
    sees(elsewhere, WRONG_CREDENTIALS)
    submit(elsewhere, email, NEW_PASSWORD)
    sees(elsewhere, email)
    other.close()


@pytest.mark.parametrize("answer", ANSWERS)
def test_user_verifies_the_address(
    person: BrowserContext, mail_server: MailServer, add_user: AddUser, answer: str
) -> None:
    email = add_user(answer)
    page = sign_in(person.new_page(), address(answer), email)
    open_page(page, answer, "/account")
    send_form(page, "verify-email")
    says(page, f"A message to {email} is on its way.")

    follow(page, mail_server.link_to(email, CONFIRM))
    sees(page, email)
    expire_access(person)
    send_form(page, "confirm-email")
    says(page, f"Your address is {email}.")

    open_page(page, answer, "/account")
    expect(page.locator("#delete-account")).to_be_visible()
    expect(page.locator("#verify-email")).to_be_hidden()
    sees(page, email)


@pytest.mark.parametrize("answer", ANSWERS)
def test_user_changes_the_address(
    person: BrowserContext,
    browser: tuple[Playwright, Browser],
    mail_server: MailServer,
    add_user: AddUser,
    answer: str,
) -> None:
    old, new = add_user(answer), new_email()
    other = browser[1].new_context(ignore_https_errors=True)
    elsewhere = sign_in(other.new_page(), address(answer), old)
    page = sign_in(person.new_page(), address(answer), old)
    open_page(page, answer, "/account")
    send_form(page, "change-email", email=new, password="not the password")
    says(page, "The current password is wrong.")
    send_form(page, "change-email", email=new, password=PASSWORD)
    says(page, f"If {new} is free, a message to it is on its way.")
    mail_server.message_to(old, "Your address for My Backend is about to change")

    follow(page, mail_server.link_to(new, CONFIRM))
    sees(page, old)
    expire_access(person)
    send_form(page, "confirm-email")
    says(page, f"Your address is {new}.")
    mail_server.message_to(old, "Your address for My Backend was changed")

    # This device stays signed in, and the other one does not.
    page.reload()
    sees(page, new)
    elsewhere.reload()
    sees(elsewhere, SIGNED_OUT)
    other.close()


@pytest.mark.parametrize("answer", ANSWERS)
def test_user_deletes_the_account(
    person: BrowserContext, mail_server: MailServer, add_user: AddUser, answer: str
) -> None:
    email = add_user(answer)
    tab = sign_in(person.new_page(), address(answer), email)
    page = person.new_page()
    open_page(page, answer, "/account")
    send_form(page, "delete-account", password="not the password")
    says(page, "The current password is wrong.")
    sees(tab, email)

    expire_access(person)
    send_form(page, "delete-account", password=PASSWORD)
    says(page, "Your account is deleted.")
    for it in (page, tab):
        sees(it, SIGNED_OUT)
    assert [*kept(person)] == ["__Host-device"]
    mail_server.message_to(email, "Your account at My Backend was deleted")

    submit(tab, email)
    sees(tab, WRONG_CREDENTIALS)


@pytest.mark.parametrize("path", ["/sign-up", "/reset"])
def test_both_pages_send_the_link_that_fits_the_address(
    person: BrowserContext, mail_server: MailServer, add_user: AddUser, path: str
) -> None:
    known, unknown = add_user("lax"), new_email()
    page = person.new_page()
    for email in (known, unknown):
        request_link(page, "lax", path, email)
    assert "/reset#" in mail_server.link_to(known, RESET)
    assert "/sign-up#" in mail_server.link_to(unknown, SIGN_UP)


def test_scanners_that_open_a_link_do_not_use_it_up(
    person: BrowserContext,
    browser: tuple[Playwright, Browser],
    https_port: int,
    mail_server: MailServer,
    add_user: AddUser,
) -> None:
    email = add_user("lax")
    page = sign_in(person.new_page(), address("lax"), email)
    open_page(page, "lax", "/account")
    send_form(page, "verify-email")
    confirm = mail_server.link_to(email, CONFIRM)
    request_link(page, "lax", "/reset", email)
    reset = mail_server.link_to(email, RESET)
    for link in (confirm, reset):
        assert fetch("HEAD", link, https_port) == fetch("GET", link, https_port) == 200
        scanner = browser[1].new_context(ignore_https_errors=True)
        opened = scanner.new_page()
        opened.goto(link)  # and run its scripts
        sees(opened, SIGNED_OUT)
        scanner.close()

    follow(page, confirm)
    send_form(page, "confirm-email")
    says(page, f"Your address is {email}.")
    follow(page, reset)
    send_form(page, "set-password", password=NEW_PASSWORD)
    says(page, f"You are signed in as {email}.")


def fetch(method: str, link: str, port: int) -> int:
    """Request a link without a browser, and return the status."""
    url = urlsplit(link)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port))
    with context.wrap_socket(plain, server_hostname=url.hostname) as connection:
        client = HTTPConnection(str(url.hostname))
        client.sock = connection
        client.request(method, url.path)
        return client.getresponse().status


@pytest.mark.parametrize("answer", ANSWERS)
def test_token_is_in_no_log_and_in_no_address(
    person: BrowserContext,
    browser: tuple[Playwright, Browser],
    mail_server: MailServer,
    sites_folder: Path,
    add_user: AddUser,
    answer: str,
) -> None:
    email = add_user(answer)
    other = browser[1].new_context(ignore_https_errors=True)  # so that no file is in the cache
    request_link(other.new_page(), answer, "/reset", email)
    other.close()
    link = mail_server.link_to(email, RESET)
    address_bar, _, token = link.partition("#token=")
    assert address_bar == f"https://app.{answer}.test/reset"
    assert len(token) == 43

    seen: list[str] = []  # by a script that looks at the address when the app sends a request
    person.expose_function("note", lambda url: seen.append(url))
    script = "const send = fetch; fetch = (...it) => (note(location.href), send(...it))"
    person.add_init_script(script)
    page = person.new_page()
    follow(page, link)
    send_form(page, "set-password", password=NEW_PASSWORD)
    says(page, f"You are signed in as {email}.")
    assert set(seen) == {address_bar} == {page.url}
    page.go_back()
    page.go_forward()
    expect(page.locator("#request-link")).to_be_visible()  # the history has no token either

    def logs() -> str:
        names = (f"{answer}.log", ACCESS_LOG)
        return "".join((sites_folder / name).read_text(encoding="utf-8") for name in names)

    for entry in (
        '"password_reset"',
        f'"host":"api.{answer}.test","uri":"/api/v1/auth/password"',
        f'"host":"app.{answer}.test","uri":"/reset"',
        f'"Referer":["{address_bar}"]',
    ):
        wait_until(lambda: entry in logs(), f"no log contains {entry}")  # noqa: B023
    assert token not in logs()


def test_link_works_once_and_says_so(
    person: BrowserContext, mail_server: MailServer, add_user: AddUser
) -> None:
    email = add_user("lax")
    page = person.new_page()
    request_link(page, "lax", "/reset", email)
    link = mail_server.link_to(email, RESET)
    follow(page, link)
    page.fill("#set-password [name=password]", NEW_PASSWORD)
    page.dblclick("#set-password button")
    says(page, f"You are signed in as {email}.")

    follow(page, link)
    send_form(page, "set-password", password=NEW_PASSWORD)
    says(page, INVALID_LINK)
    open_page(page, "lax", "/email")
    send_form(page, "confirm-email")
    says(page, INVALID_LINK)


def test_link_can_be_pasted_into_the_page_that_requested_it(
    person: BrowserContext, mail_server: MailServer, add_user: AddUser
) -> None:
    email = add_user("lax")
    page = person.new_page()
    request_link(page, "lax", "/reset", email)
    page.goto(mail_server.link_to(email, RESET))  # only the fragment changes
    send_form(page, "set-password", password=NEW_PASSWORD)
    says(page, f"You are signed in as {email}.")
    assert page.url == "https://app.lax.test/reset"


def test_account_page_requires_a_session(person: BrowserContext) -> None:
    page = person.new_page()
    open_page(page, "lax", "/account")
    says(page, "Sign in first.")
    expect(page.locator("#delete-account")).to_be_hidden()
