"""An administrator manages a user in a real browser, for every answer about SameSite."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from scripts.projects import project_environment, python_of
from tests.real.app import SIGNED_OUT, address, sees, sign_in
from tests.real.websites import ANSWERS
from tests.support.commands import run
from tests.support.postgres import Postgres
from tests.support.production import PASSWORD

ADMIN, WORKER = "admin@example.com", "worker@example.com"
REQUEST = """async ({url, method, body}) => {
    const headers = body ? {"Content-Type": "application/json"} : {};
    const options = {method, headers, credentials: "include"};
    if (body) options.body = JSON.stringify(body);
    try {
        let response = await fetch(url, options);
        if (response.status === 401) {  // the access token is valid for a few seconds only
            const refresh = new URL("/api/v1/auth/refresh", url);
            await fetch(refresh, {method: "POST", credentials: "include"});
            response = await fetch(url, options);
        }
        return {status: response.status, body: await response.json().catch(() => null)};
    } catch {
        return {status: null, body: null};
    }
}"""


@pytest.fixture(scope="module")
def users(
    project: Path, postgres: Postgres, databases: dict[str, str], settings: dict[str, str]
) -> None:
    """Add an administrator and another user to each database."""
    app = [str(python_of(project)), "-m", "app"]
    for name in databases.values():
        environment = project_environment() | settings | {"DATABASE_URL": postgres.url(name)}
        for email in (ADMIN, WORKER):
            create = [*app, "create-user", email, "--password-stdin"]
            run(create, project, environment, text=PASSWORD)
        run([*app, "grant-role", ADMIN, "admin"], project, environment)


def call(
    page: Page, answer: str, path: str, method: str = "GET", body: dict[str, Any] | None = None
) -> tuple[int | None, Any]:
    """Send a request to the administration from a page. Return its status and JSON."""
    url = f"https://api.{answer}.test/api/v1/admin{path}"
    found = page.evaluate(REQUEST, {"url": url, "method": method, "body": body})
    return found["status"], found["body"]


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("answer", ANSWERS)
def test_administrator_deactivates_a_user(
    person: BrowserContext, browser: tuple[Playwright, Browser], answer: str
) -> None:
    admin = sign_in(person.new_page(), address(answer), ADMIN)
    other = browser[1].new_context(ignore_https_errors=True)
    worker = sign_in(other.new_page(), address(answer), WORKER)

    status, page = call(admin, answer, "/users?email=worker")
    assert (status, [user["email"] for user in page["items"]]) == (200, [WORKER])
    user_id = page["items"][0]["id"]
    assert call(worker, answer, "/users")[0] == 403

    foreign = person.new_page()
    foreign.goto(f"https://evil.{answer}.test/")
    change = {"is_active": False}
    assert call(foreign, answer, f"/users/{user_id}", "PATCH", change)[0] is None
    assert call(admin, answer, f"/users/{user_id}")[1]["is_active"] is True

    assert call(admin, answer, f"/users/{user_id}", "PATCH", change)[0] == 200
    worker.reload()
    sees(worker, SIGNED_OUT)
    other.close()
    events = call(admin, answer, f"/audit-events?subject_id={user_id}&limit=1")[1]["items"]
    assert [event["action"] for event in events] == ["user_deactivated"]
