"""Chromium that can only connect to this machine."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

from scripts.screenshot import CHROMIUM_ARGUMENTS
from tests.support.tools import require


def options(https_port: int) -> dict[str, Any]:
    """Return the launch options: all HTTPS hosts are on one local port, and others are unknown."""
    rules = f"MAP *:443 127.0.0.1:{https_port}, MAP * ~NOTFOUND, EXCLUDE localhost"
    return {
        "executable_path": require("chromium"),
        "args": [*CHROMIUM_ARGUMENTS, f"--host-resolver-rules={rules}, EXCLUDE 127.0.0.1"],
    }


@contextmanager
def chromium(https_port: int = 443) -> Iterator[tuple[Playwright, Browser]]:
    """Yield Playwright, and a Chromium that it has started."""
    arguments = options(https_port)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**arguments)
        try:
            yield playwright, browser
        finally:
            browser.close()


@contextmanager
def profile(
    playwright: Playwright, https_port: int, folder: Path, *, third_party_cookies: bool
) -> Iterator[BrowserContext]:
    """Yield a separate Chromium with a persistent profile. `new_context` would be incognito."""
    preferences = {"profile": {"cookie_controls_mode": 0 if third_party_cookies else 1}}
    (folder / "Default").mkdir()
    (folder / "Default/Preferences").write_text(json.dumps(preferences), encoding="utf-8")
    context = playwright.chromium.launch_persistent_context(
        folder, ignore_https_errors=True, **options(https_port)
    )
    try:
        yield context
    finally:
        context.close()
