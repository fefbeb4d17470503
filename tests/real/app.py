"""The actions of a user in the app of docs/frontend.md."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.support.production import EMAIL, PASSWORD

SIGNED_OUT = "signed out"
LINK_REQUESTED = "If this address can have a link, a message is on its way."
NOT_KEPT = "This browser does not keep the backend's cookies."

expect.set_options(timeout=30_000)  # as long as Playwright waits for everything else


def address(answer: str, host: str | None = None) -> str:
    """Return the URL of the app with the backend of a SameSite answer; see `websites`."""
    return f"https://{host or f'app.{answer}.test'}/?backend=https://api.{answer}.test"


def kept(person: BrowserContext, name: str = "") -> dict[str, str]:
    """Return the cookies that the browser keeps, optionally only those with a text in the name."""
    return {it["name"]: it["value"] for it in person.cookies() if name in it["name"]}


def sees(page: Page, text: str) -> None:
    """Wait for a text in the app's output about its user."""
    expect(page.locator("output")).to_have_text(text)


def submit(page: Page, email: str = EMAIL, password: str = PASSWORD) -> None:
    """Submit the app's sign-in form."""
    page.fill("[name=email]", email)
    page.fill("[name=password]", password)
    page.click("text=Sign in")


def sign_in(page: Page, url: str, email: str = EMAIL) -> Page:
    """Open the app, sign in with its form, and return the page."""
    page.goto(url)
    sees(page, SIGNED_OUT)
    submit(page, email)
    sees(page, email)
    return page


def follow(page: Page, link: str) -> None:
    """Follow a link on a page of another site, such as a web mailer."""
    page.goto("https://evil.test/")
    page.evaluate("(href) => Object.assign(document.createElement('a'), {href}).click()", link)


def send_form(page: Page, form: str, **fields: str) -> None:
    """Fill in a form of the page, and submit it."""
    for name, value in fields.items():
        page.fill(f"#{form} [name={name}]", value)
    page.click(f"#{form} button")


def says(page: Page, text: str) -> None:
    """Wait for the text that the page shows after a form was submitted."""
    expect(page.locator("[role=status]")).to_have_text(text)
