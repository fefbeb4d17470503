"""The app of docs/frontend.md, as a person uses it."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.production import EMAIL, PASSWORD

SIGNED_OUT = "signed out"
NOT_KEPT = "This browser does not keep the backend's cookies."


def address(answer: str, host: str | None = None) -> str:
    """Return where the app is, before the backend of an answer; see `websites`."""
    return f"https://{host or f'app.{answer}.test'}/?backend=https://api.{answer}.test"


def kept(person: BrowserContext, name: str = "") -> dict[str, str]:
    """Return the cookies that the browser keeps, or those with a name."""
    return {it["name"]: it["value"] for it in person.cookies() if name in it["name"]}


def sees(page: Page, text: str) -> None:
    """Check what the app says about its user, after waiting a while for it."""
    expect(page.locator("output")).to_have_text(text)


def submit(page: Page) -> None:
    """Sign in by the app's form, whatever comes of it."""
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", PASSWORD)
    page.click("text=Sign in")


def sign_in(page: Page, url: str) -> Page:
    """Open the app and sign in by its form; gives the page."""
    page.goto(url)
    sees(page, SIGNED_OUT)
    submit(page)
    sees(page, EMAIL)
    return page
