"""The installed default project as a server: settings, processes and sessions."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from scripts.projects import project_environment, python_of
from tests.support.client import Browser
from tests.support.commands import run
from tests.support.postgres import age_tokens_sql, programs_of
from tests.support.servers import Server, free_port, started

EMAIL = "ada@example.com"
PASSWORD = "a passphrase for tests"
GRACE_SECONDS = 60
LOGIN = {"username": EMAIL, "password": PASSWORD}
AUTH = "/api/v1/auth"
ME = "/api/v1/users/me"


@pytest.fixture(scope="module")
def settings(project: Path, database_url: str) -> dict[str, str]:
    """Return the environment of a production server on a database with a user."""
    environment = project_environment(
        ENVIRONMENT="production",
        DATABASE_URL=database_url,
        JWT_SECRET="3kVZx0TqY7mB5cWn2RfJ8hLs6PdGa9Eu",
        REFRESH_GRACE_SECONDS=str(GRACE_SECONDS),
        WEB_CONCURRENCY="2",
        PORT=str(free_port()),
    )
    app = [str(python_of(project)), "-m", "app"]
    run([*app, "migrate"], project, environment)
    run([*app, "create-user", EMAIL, "--password-stdin"], project, environment, text=PASSWORD)
    return environment


def serve(project: Path, settings: dict[str, str], log: Path) -> AbstractContextManager[Server]:
    return started([python_of(project), "-m", "app", "serve"], project, settings, log)


@pytest.fixture(scope="module")
def port(
    project: Path, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Return the port of a running backend with two workers."""
    with serve(project, settings, tmp_path_factory.mktemp("serve") / "log") as server:
        server.wait_until_ready()
        yield server.port


@pytest.fixture
def age_tokens(project: Path, settings: dict[str, str]) -> Callable[[int], None]:
    """Return a function that lets seconds pass for all refresh tokens without waiting."""
    psql = programs_of(project) / "psql"

    def age(seconds: int) -> None:
        run([psql, settings["DATABASE_URL"], "--command", age_tokens_sql(seconds)], project)

    return age


@pytest.mark.parametrize("workers", ["1", "2"])
def test_invalid_setting_stops_the_start_and_is_reported(
    project: Path, settings: dict[str, str], workers: str
) -> None:
    wrong = settings | {
        "WEB_CONCURRENCY": workers,
        "JWT_SECRET": "short-and-private",
        "DATABASE_POOL_SIZE": "none-private",
    }
    output = run([python_of(project), "-m", "app", "serve"], project, wrong, exit_code=2)
    assert [line.split()[0] for line in output.splitlines()] == ["DATABASE_POOL_SIZE", "JWT_SECRET"]
    assert "private" not in output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_exits_with_0_on_sigterm(
    project: Path, settings: dict[str, str], tmp_path: Path, workers: str
) -> None:
    free = settings | {"WEB_CONCURRENCY": workers, "PORT": str(free_port())}
    with serve(project, free, tmp_path / "log") as server:
        server.wait_until_ready()
        assert server.stop(signal.SIGTERM) == 0, server.output()


def test_taken_port_prints_one_line(project: Path, settings: dict[str, str], port: int) -> None:
    output = run([python_of(project), "-m", "app", "serve"], project, settings, exit_code=1)
    assert len(output.splitlines()) == 1
    assert str(port) in output


def test_login_sets_three_cookies_that_authenticate_the_user(port: int) -> None:
    browser = Browser(port)
    assert browser.get(ME).status == 401
    response = browser.post(f"{AUTH}/login", LOGIN)
    assert response.status == 200
    assert {name.rpartition("-")[2] for name in browser.cookies} == {"access", "refresh", "device"}
    for cookie in response.headers.get_all("Set-Cookie", []):
        assert cookie.startswith("__Host-")
        assert "HttpOnly" in cookie
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "SameSite=lax" in cookie
    user = browser.get(ME)
    assert user.status == 200
    assert user.body == response.body
    assert user.body["email"] == EMAIL


def test_wrong_password_returns_a_problem_document(port: int) -> None:
    response = Browser(port).post(f"{AUTH}/login", {**LOGIN, "password": "not the passphrase"})
    assert response.status == 401
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "passphrase" not in str(response.body)


def test_refresh_rotates_both_cookies_and_is_idempotent_at_first(port: int) -> None:
    browser = Browser(port)
    browser.post(f"{AUTH}/login", LOGIN)
    before = dict(browser.cookies)
    assert browser.post(f"{AUTH}/refresh").status == 204
    after = dict(browser.cookies)
    assert after.keys() == before.keys()
    changed = {name.rpartition("-")[2] for name in before if after[name] != before[name]}
    assert changed == {"access", "refresh"}
    assert browser.get(ME).status == 200

    second_tab = Browser(port, dict(before))
    assert second_tab.post(f"{AUTH}/refresh").status == 204
    refresh = next(name for name in before if name.endswith("refresh"))
    assert second_tab.cookies[refresh] == after[refresh]


def test_rotated_refresh_cookie_revokes_the_session_after_the_grace_period(
    port: int, age_tokens: Callable[[int], None]
) -> None:
    browser = Browser(port)
    browser.post(f"{AUTH}/login", LOGIN)
    attacker = Browser(port, dict(browser.cookies))
    assert browser.post(f"{AUTH}/refresh").status == 204
    age_tokens(GRACE_SECONDS)

    assert attacker.post(f"{AUTH}/refresh").status == 401
    assert [*attacker.cookies] == ["__Host-device"]
    assert browser.get(ME).status == 401
    assert browser.post(f"{AUTH}/refresh").status == 401


def test_logout_revokes_access_immediately(port: int) -> None:
    browser = Browser(port)
    browser.post(f"{AUTH}/login", LOGIN)
    copy = Browser(port, dict(browser.cookies))
    assert browser.post(f"{AUTH}/logout").status == 204
    assert [*browser.cookies] == ["__Host-device"]
    assert copy.get(ME).status == 401
    assert copy.post(f"{AUTH}/refresh").status == 401


def test_sessions_can_be_listed_and_revoked(port: int) -> None:
    laptop, phone = Browser(port), Browser(port)
    for device in (laptop, phone):
        device.post(f"{AUTH}/login", LOGIN)
    (other,) = [it for it in laptop.get(f"{ME}/sessions").body if not it["current"]][:1]
    assert laptop.delete(f"{ME}/sessions/{other['id']}").status == 204
    assert laptop.delete(f"{ME}/sessions").status == 204
    assert phone.get(ME).status == 401
    assert [it["current"] for it in laptop.get(f"{ME}/sessions").body] == [True]


def test_password_change_revokes_all_other_sessions(port: int) -> None:
    laptop, phone = Browser(port), Browser(port)
    for device in (laptop, phone):
        device.post(f"{AUTH}/login", LOGIN)
    for current, new in ((PASSWORD, "another passphrase"), ("another passphrase", PASSWORD)):
        change = {"current_password": current, "new_password": new}
        assert laptop.put(f"{ME}/password", change).status == 204
        assert laptop.get(ME).status == 200
    assert phone.get(ME).status == 401
    assert phone.post(f"{AUTH}/refresh").status == 401
