"""The actions of a user in the app of docs/frontend.md."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.support.production import EMAIL, PASSWORD

SIGNED_OUT = "signed out"
NOT_KEPT = "This browser does not keep the backend's cookies."


def address(answer: str, host: str | None = None) -> str:
    """Return the URL of the app with the backend of a SameSite answer; see `websites`."""
    return f"https://{host or f'app.{answer}.test'}/?backend=https://api.{answer}.test"


def kept(person: BrowserContext, name: str = "") -> dict[str, str]:
    """Return the cookies that the browser keeps, optionally only those with a text in the name."""
    return {it["name"]: it["value"] for it in person.cookies() if name in it["name"]}


def sees(page: Page, text: str) -> None:
    """Wait for a text in the app's output about its user."""
    expect(page.locator("output")).to_have_text(text)


def submit(page: Page) -> None:
    """Submit the app's sign-in form."""
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", PASSWORD)
    page.click("text=Sign in")


def sign_in(page: Page, url: str) -> Page:
    """Open the app, sign in with its form, and return the page."""
    page.goto(url)
    sees(page, SIGNED_OUT)
    submit(page)
    sees(page, EMAIL)
    return page
