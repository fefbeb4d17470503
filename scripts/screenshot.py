"""`make screenshot`: sign in on the API documentation page of the demo, and take a picture."""

import shutil
import sys
from typing import Final

from playwright.sync_api import Locator, Page, expect, sync_playwright

from scripts.check_template import ROOT
from scripts.demo import EMAIL, PASSWORD, served

PICTURE: Final = ROOT / "docs/images/docs-page.png"
# Shows the endpoints from the first one of `auth` to the last one of `users`.
SIZE: Final = (1000, 870)
FIRST: Final = "#operations-tag-auth"
# Hiding these details makes room for all endpoints and one response.
HIDDEN: Final = ", ".join(
    (
        ".opblock-description-wrapper",
        ".opblock-section",
        ".opblock-section-header",
        ".curl-command",
        ".request-url",
        ".responses-inner h4",
        ".responses-inner thead",
        ".response-col_description > :nth-child(2)",  # the response headers
        ".responses-table:not(.live-responses-table)",
    )
)
# Chromium's sandbox does not work for root, nor in most containers.
CHROMIUM_ARGUMENTS: Final = ("--no-sandbox",)


def main() -> int:
    """Take the picture, and return the exit code."""
    # If this is None, Playwright uses its own Chromium, or says how to install it.
    chromium = shutil.which("chromium")
    with served() as (_, port), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=list(CHROMIUM_ARGUMENTS)
        )
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.goto(f"http://localhost:{port}/docs")
        login = ("POST", "/api/v1/auth/login")
        expect(call(page, *login, username=EMAIL, password=PASSWORD)).to_contain_text("200")
        toggle(page, *login)
        expect(call(page, "GET", "/api/v1/users/me")).to_contain_text(EMAIL)
        page.add_style_tag(content=f"{HIDDEN} {{ display: none !important }}")
        page.locator(FIRST).evaluate("it => it.scrollIntoView()")
        page.screenshot(path=PICTURE, animations="disabled")
        browser.close()
    print(f"Wrote {PICTURE.relative_to(ROOT)}")
    return 0


def call(page: Page, method: str, path: str, **fields: str) -> Locator:
    """Open an endpoint on the page, fill in its form and execute it. Return its response."""
    toggle(page, method, path)
    block = _block(page, method, path)
    for name, value in fields.items():
        block.locator(f"[data-property-name='{name}'] input").fill(value)
    block.get_by_role("button", name="Execute").click()
    return block.locator(".live-responses-table .response")


def toggle(page: Page, method: str, path: str) -> None:
    """Open or close an endpoint on the page."""
    _block(page, method, path).locator(".opblock-summary-control").click()


def _block(page: Page, method: str, path: str) -> Locator:
    block = page.locator(f".opblock-{method.lower()}")
    return block.filter(has=page.locator(f"[data-path='{path}']"))


if __name__ == "__main__":
    sys.exit(main())
