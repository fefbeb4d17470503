"""`shell`, `psql`, `seed` and `reset`."""

import asyncio
import io
from pathlib import Path

import pytest

from app.cli import main
from app.cli.psql import split_password
from app.cli.reset import local_database_name
from app.core.security import PasswordHasher
from app.db.revisions import migrate
from app.services.examples import PASSWORD
from tests.cli.test_commands import query
from tests.conftest import SECRET, settings_for
from tests.postgres import database_url

ADA = (
    "INSERT INTO users (id, email, password_hash, is_active, created_at) "
    "VALUES (gen_random_uuid(), 'ada@example.com', '', true, now())"
)


@pytest.fixture(scope="module")
def local_database(worker_id: str) -> str:
    """Return the URL of a migrated database that `reset` may delete."""
    url = database_url(f"{worker_id}_local")
    migrate(settings_for(url))
    return url


@pytest.fixture
def local(local_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Set the environment of a developer, and return the URL of a database with one user."""
    values = {"ENVIRONMENT": "local", "DATABASE_URL": local_database, "JWT_SECRET": SECRET}
    monkeypatch.chdir(tmp_path)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    query(local_database, "DELETE FROM users")
    query(local_database, ADA)
    return local_database


def test_shell_provides_settings_models_and_a_session(
    local: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        "settings.environment",
        "ada = await db.scalar(select(User))",
        "ada.email",
        "1 / 0",
        "for _ in range(2):",
        "    await db.delete(ada)",
        "",
        "await db.commit()",
        "await db.scalar(select(func.count(User.id)))",
        "unknown",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    capsys.readouterr()

    assert main(["shell"]) == 0

    printed = capsys.readouterr()
    for value in ("'local'\n", "'ada@example.com'\n", "0\n"):
        assert value in printed.out
    assert "ENVIRONMENT=local, DATABASE_URL (" in printed.err
    assert "ZeroDivisionError" in printed.err
    assert "NameError: name 'unknown'" in printed.err
    assert query(local, "SELECT count(*) FROM users") == 0


def test_shell_reports_an_unavailable_database_without_a_traceback(
    local: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/none")
    monkeypatch.setattr("sys.stdin", io.StringIO("await db.scalar(select(User))\n"))
    capsys.readouterr()

    assert main(["shell"]) == 0
    error = capsys.readouterr().err
    assert "ConnectionRefusedError" in error
    assert "Traceback" not in error


def test_psql_connects_to_the_database_and_keeps_its_exit_code(
    local: str, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert main(["psql", "-At", "-c", "SELECT email FROM users"]) == 0
    assert capfd.readouterr().out == "ada@example.com\n"
    assert main(["psql", "-c", "no statement"]) == 1


def test_psql_gets_its_arguments_and_the_password_in_the_environment(
    local: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "psql"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\necho "password: $PGPASSWORD"\nexit 7\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "postgres://ada:a%2Fb@db.test/x?sslmode=require")
    capfd.readouterr()

    assert main(["psql", "--csv", "-f", "a file", "-x"]) == 7
    assert capfd.readouterr().out.splitlines() == [
        "--dbname=postgresql://ada@db.test/x?sslmode=require",
        *("--csv", "-f", "a file", "-x"),
        "password: a/b",
    ]


@pytest.mark.parametrize(
    ("url", "shown", "password"),
    [
        ("postgresql+asyncpg://u@h:5/d", "postgresql://u@h:5/d", None),
        ("postgresql:///d?host=/tmp&password=p", "postgresql:///d?host=%2Ftmp", "p"),
        ("postgres://u:p@a:1,b:2/d", "postgresql://u@a:1,b:2/d", "p"),
        ("postgres://u:p@[::1]/d", "postgresql://u@[::1]/d", "p"),
        (
            "postgres://u:p@h/d?sslmode=verify-full",
            "postgresql://u@h/d?sslmode=verify-full&sslrootcert=system",
            "p",
        ),
    ],
)
def test_password_is_removed_from_the_url_for_the_command_line(
    url: str, shown: str, password: str | None
) -> None:
    assert split_password(url) == (shown, password)


@pytest.fixture
def local_test(local: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the same database, for the environment in which hashing is fast."""
    monkeypatch.setenv("ENVIRONMENT", "test")
    return local


def test_seed_adds_only_missing_users(local_test: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seed", "--users", "2"]) == 0

    printed = capsys.readouterr().out
    assert "Users added: 4. Users left unchanged: 1.\n" in printed
    assert f'the password is "{PASSWORD}".' in printed
    assert query(local_test, hash_of("ada@example.com")) == ""  # as before
    for email in ("grace@example.com", "user-2@example.com"):
        assert verifies(PASSWORD, str(query(local_test, hash_of(email))))

    assert main(["seed", "--users", "3"]) == 0
    assert "Users added: 1. Users left unchanged: 5.\n" in capsys.readouterr().out
    assert query(local_test, "SELECT count(*) FROM users") == 6
    assert main(["seed", "--users", "-1"]) == 1
    assert capsys.readouterr().err == "--users takes a number that is not negative.\n"


def test_seed_adds_an_administrator(local_test: str) -> None:
    query(local_test, "DELETE FROM users")

    assert main(["seed"]) == 0

    assert query(local_test, "SELECT email FROM users WHERE role = 'admin'") == "ada@example.com"


def hash_of(email: str) -> str:
    """Return a query for the password hash of a user."""
    return f"SELECT password_hash FROM users WHERE email = '{email}'"  # noqa: S608 (no input)


def verifies(password: str, hashed: str) -> bool:
    hasher = PasswordHasher(4)
    correct, _ = asyncio.run(hasher.verify(password, hashed))
    hasher.close()
    return correct


@pytest.mark.parametrize(
    ("variable", "value", "exit_code", "message"),
    [
        ("ENVIRONMENT", "production", 2, "where ENVIRONMENT is local or test"),
        ("ENVIRONMENT", "staging", 2, "where ENVIRONMENT is local or test"),
        ("ENVIRONMENT", "", 2, "ENVIRONMENT is production"),
        ("DATABASE_URL", "postgresql://u:p@db.example.com/app", 1, "on db.example.com"),
    ],
)
def test_seed_changes_nothing_in_a_deployment(
    local: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    exit_code: int,
    message: str,
) -> None:
    monkeypatch.setenv(variable, value)

    assert main(["seed"]) == exit_code
    assert message in capsys.readouterr().err
    assert query(local, "SELECT count(*) FROM users") == 1


@pytest.mark.parametrize("level", ["DEBUG", "ERROR"])
def test_sql_echo_logs_statements_without_their_values(
    local_test: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: str,
) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)  # no level shows the rows or hides the statements
    query(local_test, "DELETE FROM users")
    assert main(["seed"]) == 0
    assert "INSERT" not in capsys.readouterr().err

    monkeypatch.setenv("SQL_ECHO", "true")
    query(local_test, "DELETE FROM users WHERE email = 'grace@example.com'")
    assert main(["seed"]) == 0

    logged = capsys.readouterr().err
    for part in ("SELECT users.email", "INSERT INTO users", "COMMIT"):
        assert part in logged
    for value in ("@example.com", "bcrypt"):
        assert value not in logged


def test_reset_empties_the_database_and_migrates_it(
    local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reset", "--yes"]) == 0

    assert "is empty now, and up to date.\n" in capsys.readouterr().out
    assert query(local, "SELECT count(*) FROM users") == 0


@pytest.mark.parametrize("answer", ["y", "YES", "n", "", None])
def test_reset_asks_for_confirmation(
    local: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    terminal = io.StringIO("" if answer is None else f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    resets = answer in ("y", "YES")

    assert main(["reset"]) == (0 if resets else 1)

    printed = capsys.readouterr()
    assert f"all data in the database {local_database_name(local)}. Continue?" in printed.out
    assert ("Nothing was deleted.\n" in printed.err) is not resets
    assert query(local, "SELECT count(*) FROM users") == (0 if resets else 1)


def test_reset_without_a_terminal_explains_how_to_confirm(
    local: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    assert main(["reset"]) == 1
    assert capsys.readouterr().err.endswith(
        "There is no terminal to ask for confirmation; use --yes.\n"
    )
    assert query(local, "SELECT count(*) FROM users") == 1


@pytest.mark.parametrize("environment", ["production", "staging", "test", ""])
def test_reset_changes_nothing_in_a_deployment(
    local: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: str,
) -> None:
    monkeypatch.setenv("ENVIRONMENT", environment)

    assert main(["reset", "--yes"]) == 2
    assert "reset is for a developer's machine" in capsys.readouterr().err
    assert query(local, "SELECT count(*) FROM users") == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://u:p@db.example.com/app", "The database is on db.example.com"),
        ("postgresql://u:p@db.example.com:5432/app?host=/tmp", "is on db.example.com:5432"),
        ("postgresql://u:p@localhost/app?host=db.example.com", "is on db.example.com"),
        ("postgresql://u:p@localhost,10.0.0.1/app", "is on 10.0.0.1"),
        ("postgresql://u:p@[2001:db8::1]:5432/app", "is on [2001:db8::1]:5432"),
        ("postgresql://u:p@localhost", "does not name a database"),
        ("postgresql://u:p@localhost/postgres", "does not name a database"),
        ("postgresql://u:p@localhost/one?dbname=two", "does not name a database"),
    ],
)
def test_reset_rejects_remote_and_maintenance_databases(
    local: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str,
    message: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    assert main(["reset", "--yes"]) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:postgres@localhost:5432/app",
        "postgresql://postgres@127.0.0.1/app",
        "postgresql://postgres@[::1]:5432/app",
        "postgresql://postgres@db/app",
        "postgresql://postgres@host.docker.internal/app",
        "postgresql://postgres@/app?host=/tmp",
        "postgresql:///?dbname=app",
    ],
)
def test_reset_accepts_the_databases_of_a_developer(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    assert local_database_name(url) == "app"
    monkeypatch.setenv("PGHOST", "db.example.com")
    if "@/" not in url and "///" not in url:
        assert local_database_name(url) == "app"


def test_reset_of_an_unavailable_database_prints_one_line(
    local: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/app")
    capsys.readouterr()

    assert main(["reset", "--yes"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "ConnectionRefusedError" in line
    assert "hunter2" not in line
