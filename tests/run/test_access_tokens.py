"""A personal access token in the installed project, used with curl as a CI job uses it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.projects import project_environment, python_of
from tests.support.client import Browser
from tests.support.commands import run
from tests.support.servers import Server, free_port, started
from tests.support.tools import require

EMAIL = "ada@example.com"
PASSWORD = "a passphrase for tests"
ME = "/api/v1/users/me"
TOKENS = f"{ME}/tokens"


@pytest.fixture
def server(project: Path, database_url: str, tmp_path: Path) -> Iterator[Server]:
    """Return a production server that accepts access tokens and logs everything."""
    environment = project_environment(
        ENVIRONMENT="production",
        DATABASE_URL=database_url,
        JWT_SECRET="3kVZx0TqY7mB5cWn2RfJ8hLs6PdGa9Eu",
        ACCESS_TOKENS_ENABLED="true",
        LOG_LEVEL="DEBUG",
        PORT=str(free_port()),
    )
    app = [str(python_of(project)), "-m", "app"]
    run([*app, "migrate"], project, environment)
    run([*app, "create-user", EMAIL, "--password-stdin"], project, environment, text=PASSWORD)
    with started([*app, "serve"], project, environment, tmp_path / "log") as server:
        server.wait_until_ready()
        yield server


def test_curl_uses_a_token_until_it_is_revoked(server: Server, project: Path) -> None:
    def curl(path: str, *options: str) -> tuple[int, str]:
        """Return the status and the body of a request with the token."""
        url = f"http://127.0.0.1:{server.port}{path}"
        command = [require("curl"), "--silent", "--header", f"Authorization: Bearer {token}"]
        output = run([*command, "--write-out", "\n%{http_code}", *options, url], project)
        body, _, status = output.rpartition("\n")
        return int(status), body

    browser = Browser(server.port)
    browser.post("/api/v1/auth/login", {"username": EMAIL, "password": PASSWORD})
    wanted = {"name": "CI", "scopes": ["read"], "expires_in_days": 1}
    created = browser.post_json(TOKENS, wanted)
    assert created.status == 201, created.body
    token = created.body["token"]

    status, body = curl(ME)
    assert (status, json.loads(body)["email"]) == (200, EMAIL)
    assert curl(TOKENS)[0] == 401
    assert browser.delete(f"{TOKENS}/{created.body['id']}").status == 204
    assert curl(ME)[0] == 401

    log = server.output()
    assert f'"token_id": "{created.body["id"]}"' in log
    assert token not in log
