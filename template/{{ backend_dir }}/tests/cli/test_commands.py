"""The commands, run in this process."""

import asyncio
import io
import json
from pathlib import Path

import asyncpg
import pytest

from app.cli import main
from tests.conftest import PASSWORD, SECRET


@pytest.fixture
def environment(
    test_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> pytest.MonkeyPatch:
    """The environment of a deployment, on the database of the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setenv("DATABASE_URL", test_database)
    monkeypatch.setenv("JWT_SECRET", SECRET)
    return monkeypatch


@pytest.fixture
def empty(test_database: str) -> None:
    """No users."""

    async def delete() -> None:
        connection = await asyncpg.connect(test_database)
        await connection.execute("DELETE FROM users; DELETE FROM attempt_counts")
        await connection.close()

    asyncio.run(delete())


def create_user(monkeypatch: pytest.MonkeyPatch, email: str, password: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    return main(["create-user", email, "--password-stdin"])


def test_without_a_command_the_list_of_commands_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "usage: python -m app" in capsys.readouterr().err


def test_migrate_can_be_repeated(environment: pytest.MonkeyPatch) -> None:
    assert main(["migrate"]) == 0
    assert main(["migrate"]) == 0


@pytest.mark.usefixtures("empty")
def test_create_user_creates_one_once(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create_user(environment, " Ada@Example.com", PASSWORD) == 0
    assert capsys.readouterr().out == "Created ada@example.com.\n"
    assert create_user(environment, "ada@example.com", PASSWORD) == 1
    assert capsys.readouterr().err == "There is a user with this email address already.\n"


@pytest.mark.parametrize(
    ("email", "password", "says"),
    [
        ("no address", PASSWORD, "not an email address"),
        ("bob@example.com", "short", "at least 15 characters"),
        ("bob@example.com", "", "at least 15 characters"),
    ],
)
def test_create_user_explains_what_it_does_not_take(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    email: str,
    password: str,
    says: str,
) -> None:
    assert create_user(environment, email, password) == 1
    assert says in capsys.readouterr().err


@pytest.mark.usefixtures("empty")
def test_create_user_asks_twice(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([PASSWORD, "another", PASSWORD, PASSWORD])
    environment.setattr("getpass.getpass", lambda _: next(answers))

    assert main(["create-user", "ada@example.com"]) == 1
    assert "The two passwords differ" in capsys.readouterr().err
    assert main(["create-user", "ada@example.com"]) == 0


def test_an_interrupted_command_ends_quietly(environment: pytest.MonkeyPatch) -> None:
    def interrupt(_: str) -> str:
        raise KeyboardInterrupt

    environment.setattr("getpass.getpass", interrupt)

    assert main(["create-user", "ada@example.com"]) == 130


def test_a_database_that_is_away_is_one_line(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("DATABASE_URL", "postgresql://user:hunter2@127.0.0.1:1/none")

    assert create_user(environment, "ada@example.com", PASSWORD) == 1
    error = capsys.readouterr().err
    assert "ConnectionRefusedError" in error.splitlines()[-1]
    assert "hunter2" not in error


def test_openapi_needs_no_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DATABASE_URL", "JWT_SECRET", "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PORT", "not a number")

    assert main(["openapi"]) == 0
    assert "/api/v1/users/me" in json.loads(capsys.readouterr().out)["paths"]
