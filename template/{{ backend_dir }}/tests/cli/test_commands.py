"""The commands, executed in this process."""

import asyncio
import io
import json
import re
from pathlib import Path

import asyncpg
import httpx
import pytest
from passlib.context import CryptContext

from app.cli import main
from app.core.settings import ExplicitSettings
from app.main import create_app
from tests.conftest import ORIGIN, PASSWORD, SECRET, cookie, log_in
from tests.postgres import database_url


@pytest.fixture
def environment(
    test_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> pytest.MonkeyPatch:
    """Return the environment of a deployment that uses the test database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setenv("DATABASE_URL", test_database)
    monkeypatch.setenv("JWT_SECRET", SECRET)
    return monkeypatch


@pytest.fixture
def empty(test_database: str) -> None:
    """Delete all users."""

    async def delete() -> None:
        connection = await asyncpg.connect(test_database)
        await connection.execute(
            "DELETE FROM users; DELETE FROM attempt_counts; DELETE FROM pgqueuer.pgqueuer"
        )
        await connection.close()

    asyncio.run(delete())


def create_user(monkeypatch: pytest.MonkeyPatch, email: str, password: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    return main(["create-user", email, "--password-stdin"])


def test_app_without_a_command_lists_the_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert "usage: python -m app" in printed
    for line in ("create-user", "create a user", "doctor", "check that all is well", "shell"):
        assert line in printed


def test_migrate_can_be_repeated(environment: pytest.MonkeyPatch) -> None:
    assert main(["migrate"]) == 0
    assert main(["migrate"]) == 0


@pytest.mark.usefixtures("empty")
def test_create_user_creates_a_user_only_once(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create_user(environment, " Ada@Example.com", PASSWORD) == 0
    assert capsys.readouterr().out == "Created ada@example.com.\n"
    assert create_user(environment, "ada@example.com", PASSWORD) == 1
    assert capsys.readouterr().err == "There is a user with this email address already.\n"


@pytest.mark.parametrize(
    ("email", "password", "message"),
    [
        ("no address", PASSWORD, "not an email address"),
        ("bob@example.com", "short", "at least 15 characters"),
        ("bob@example.com", "", "at least 15 characters"),
        ("bob@example.com", "nul \0 inside the password", "what is not text"),
        ("bob@example.com", "not UTF-8: \udcff\udcff\udcff\udcff", "what is not text"),
        ("bob@example.com", "long" * 300, "1024 characters at most"),
    ],
)
def test_create_user_explains_why_it_rejects_a_value(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    email: str,
    password: str,
    message: str,
) -> None:
    assert create_user(environment, email, password) == 1
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("empty")
def test_create_user_asks_for_the_password_twice(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([PASSWORD, "another", PASSWORD, PASSWORD])
    environment.setattr("getpass.getpass", lambda _: next(answers))

    assert main(["create-user", "ada@example.com"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "The password needs at least 15 characters.\n"
    assert "The two passwords differ" in printed.err
    assert main(["create-user", "ada@example.com"]) == 0


@pytest.mark.usefixtures("empty")
def test_create_user_sends_a_link(
    environment: pytest.MonkeyPatch, test_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("SMTP_URL", "smtp://127.0.0.1:1")
    environment.setenv("MAIL_FROM", "no-reply@example.com")

    assert main(["create-user", "Ada@example.com", "--send-link"]) == 0

    assert "A worker sends a link to ada@example.com" in capsys.readouterr().out
    jobs = "SELECT entrypoint || convert_from(payload, 'UTF8') FROM pgqueuer.pgqueuer"
    assert query(test_database, jobs) == 'SendLink{"email":"ada@example.com","invited":true}'
    assert query(test_database, "SELECT count(*) FROM users") == 0


@pytest.mark.usefixtures("empty")
def test_create_user_sends_no_link_to_a_user(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_user(environment, "ada@example.com", PASSWORD)
    assert main(["create-user", "ada@example.com", "--send-link"]) == 1
    assert "set SMTP_URL and MAIL_FROM" in capsys.readouterr().err

    environment.setenv("SMTP_URL", "smtp://127.0.0.1:1")
    environment.setenv("MAIL_FROM", "no-reply@example.com")
    assert main(["create-user", "ada@example.com", "--send-link"]) == 1
    assert "There is a user" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["create-user", "set-password"])
def test_password_that_is_not_entered_prints_one_line(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    def end(_: str) -> str:
        raise EOFError

    environment.setattr("getpass.getpass", end)

    assert main([command, "ada@example.com"]) == 1
    assert capsys.readouterr().err == "\nNo password was entered; nothing was done.\n"


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (None, "at least 15 characters"),  # closed
        (io.TextIOWrapper(io.BytesIO(b"\xff" * 20), encoding="utf-8"), "is not UTF-8 text"),
    ],
    ids=["closed", "bytes"],
)
def test_standard_input_without_a_password_prints_one_line(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stdin: io.TextIOWrapper | None,
    message: str,
) -> None:
    environment.setattr("sys.stdin", stdin)

    assert main(["create-user", "ada@example.com", "--password-stdin"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def sign_in_once(test_database: str, email: str) -> str:
    """Sign a user in, and return their refresh token."""
    settings = ExplicitSettings(
        environment="test", database_url=test_database, jwt_secret=SECRET, cors_origins=ORIGIN
    )

    async def sign_in() -> str:
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="https://api.test") as web:
                assert (await log_in(web, email)).status_code == 200
                return cookie(web, "refresh")

    return asyncio.run(sign_in())


def query(test_database: str, sql: str) -> object:
    """Return one value from the database."""

    async def fetch() -> object:
        connection = await asyncpg.connect(test_database)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


ACTIVE_SESSIONS = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL"


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(
    "command",
    [
        ["set-password", "Ada@example.com", "--password-stdin"],
        ["deactivate-user", "ADA@example.com"],
        ["end-sessions", "ada@example.com"],
        ["end-sessions", "--all"],
    ],
    ids=" ".join,
)
def test_commands_revoke_sessions(
    environment: pytest.MonkeyPatch, test_database: str, command: list[str]
) -> None:
    create_user(environment, "ada@example.com", PASSWORD)
    sign_in_once(test_database, "ada@example.com")
    assert query(test_database, ACTIVE_SESSIONS) == 1
    query(
        test_database,
        "INSERT INTO email_tokens (purpose, email, user_id, expires_at) "
        "SELECT 'email', 'x@example.com', id, now() + make_interval(hours => 1) FROM users",
    )

    environment.setattr("sys.stdin", io.StringIO("another long passphrase\n"))
    assert main(command) == 0

    assert query(test_database, ACTIVE_SESSIONS) == 0
    tokens = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL"
    assert query(test_database, tokens) == 0
    links = "SELECT count(*) FROM email_tokens WHERE used_at IS NULL"
    assert query(test_database, links) == 0
    active = query(test_database, "SELECT is_active FROM users")
    assert active is (command[0] != "deactivate-user")


@pytest.mark.usefixtures("empty")
def test_end_sessions_invalidates_links_about_users_without_a_session(
    environment: pytest.MonkeyPatch, test_database: str
) -> None:
    create_user(environment, "ada@example.com", PASSWORD)
    query(
        test_database,
        "INSERT INTO email_tokens (purpose, email, user_id, expires_at) "
        "SELECT 'email', 'x@example.com', id, now() + make_interval(hours => 1) FROM users",
    )
    assert main(["end-sessions", "--all"]) == 0
    assert query(test_database, "SELECT count(*) FROM email_tokens WHERE used_at IS NULL") == 0


@pytest.mark.usefixtures("empty")
def test_end_sessions_revokes_sessions_with_a_future_creation_time(
    environment: pytest.MonkeyPatch, test_database: str
) -> None:
    create_user(environment, "ada@example.com", PASSWORD)
    sign_in_once(test_database, "ada@example.com")
    query(test_database, "UPDATE sessions SET created_at = created_at + make_interval(hours => 1)")

    assert main(["end-sessions", "--all"]) == 0
    assert query(test_database, ACTIVE_SESSIONS) == 0


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(
    ("command", "event", "prints"),
    [
        (
            ["set-password", "ada@example.com", "--password-stdin"],
            "password_set",
            "Changed the password of ada@example.com and ended their sessions.\n",
        ),
        (
            ["deactivate-user", "ada@example.com"],
            "user_deactivated",
            "Deactivated ada@example.com and ended their sessions.\n",
        ),
        (
            ["end-sessions", "ada@example.com"],
            "sessions_ended",
            "Ended the sessions of ada@example.com.\n",
        ),
        (["end-sessions", "--all"], "every_session_ended", "Ended the sessions of 1 users.\n"),
    ],
    ids=["set-password", "deactivate-user", "end-sessions", "end-sessions --all"],
)
def test_commands_that_revoke_sessions_also_log_it(
    environment: pytest.MonkeyPatch,
    test_database: str,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    event: str,
    prints: str,
) -> None:
    create_user(environment, "ada@example.com", PASSWORD)
    sign_in_once(test_database, "ada@example.com")
    capsys.readouterr()

    environment.setattr("sys.stdin", io.StringIO("another long passphrase\n"))
    assert main(command) == 0

    printed = capsys.readouterr()
    logged = json.loads(printed.err)
    assert printed.out == prints
    assert (logged["event"], logged["level"]) == (event, "info")
    ada = str(query(test_database, "SELECT id FROM users"))
    assert logged.get("user_id") == (None if "--all" in command else ada)
    assert logged.get("users") == (1 if "--all" in command else None)


@pytest.mark.usefixtures("empty")
def test_user_can_sign_in_with_the_password_of_set_password(
    environment: pytest.MonkeyPatch, test_database: str
) -> None:
    create_user(environment, "ada@example.com", "the first long passphrase")
    environment.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert main(["set-password", "ada@example.com", "--password-stdin"]) == 0

    assert sign_in_once(test_database, "ada@example.com")


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("command", ["set-password", "deactivate-user", "end-sessions"])
def test_commands_report_an_unknown_user(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    environment.setattr("getpass.getpass", lambda _: PASSWORD)

    assert main([command, "nobody@example.com"]) == 1
    assert capsys.readouterr().err == "There is no user with this email address.\n"


@pytest.mark.parametrize(
    ("variable", "env", "message"),
    [
        ("production", None, "ENVIRONMENT is production"),
        ("staging", "ENVIRONMENT=local", "ENVIRONMENT is staging"),
        ("", "ENVIRONMENT=production", "ENVIRONMENT is production"),
        ("", "LOG_LEVEL=INFO", "ENVIRONMENT is production"),  # the default
    ],
)
def test_dev_changes_nothing_in_a_deployment(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    env: str | None,
    message: str,
) -> None:
    environment.setenv("ENVIRONMENT", variable)
    environment.setattr("signal.signal", lambda *_: None)
    if env is not None:
        Path(".env").write_text(f"{env}\n")
    before = [path.read_text() for path in Path().iterdir()]

    assert main(["dev"]) == 2
    assert [path.read_text() for path in Path().iterdir()] == before
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_end_sessions_requires_either_an_email_or_all(environment: pytest.MonkeyPatch) -> None:
    for arguments in ([], ["ada@example.com", "--all"]):
        with pytest.raises(SystemExit) as ended:
            main(["end-sessions", *arguments])
        assert ended.value.code == 2


@pytest.mark.usefixtures("empty")
def test_grant_role_replaces_the_role_and_is_recorded(
    environment: pytest.MonkeyPatch, test_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create_user(environment, "ada@example.com", PASSWORD)
    assert main(["grant-role", "Ada@example.com", "admin"]) == 0
    assert capsys.readouterr().out.endswith("ada@example.com has the role admin now.\n")
    assert query(test_database, "SELECT role FROM users") == "admin"
    event = "SELECT concat(action, actor_id, details) FROM audit_events ORDER BY id DESC LIMIT 1"
    assert query(test_database, event) == 'role_changed{"new": "admin", "old": "user"}'

    assert main(["grant-role", "bob@example.com", "admin"]) == 1
    assert capsys.readouterr().err == "There is no user with this email address.\n"
    with pytest.raises(SystemExit):
        main(["grant-role", "ada@example.com", "king"])
    assert "choose from" in capsys.readouterr().err


@pytest.mark.usefixtures("empty")
def test_purge_deletes_expired_rows_only(
    environment: pytest.MonkeyPatch, test_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create_user(environment, "ada@example.com", PASSWORD)
    for _ in range(2):
        sign_in_once(test_database, "ada@example.com")
    expired = "now() - make_interval(secs => 1)"
    query(test_database, f"UPDATE sessions SET expires_at = {expired} WHERE id = "  # noqa: S608
          "(SELECT id FROM sessions LIMIT 1)")  # fmt: skip
    query(test_database, f"UPDATE attempt_counts SET window_ends_at = {expired}")  # noqa: S608
    capsys.readouterr()

    query(
        test_database,
        "INSERT INTO email_tokens (purpose, email, expires_at) VALUES "
        "('reset', 'ada@example.com', now()), "
        "('sign_up', 'ada@example.com', now() + make_interval(hours => 1))",
    )
    assert main(["purge"]) == 0
    assert capsys.readouterr().out == (
        "Deleted 1 sessions, 1 refresh tokens, 4 rate-limit rows, 1 mailed links, "
        "0 personal access tokens, 0 audit events and 0 entries of the job log.\n"
    )
    assert query(test_database, "SELECT count(*) FROM sessions") == 1
    assert query(test_database, "SELECT count(*) FROM refresh_tokens") == 1
    assert query(test_database, "SELECT purpose FROM email_tokens") == "sign_up"
    assert main(["purge"]) == 0
    assert capsys.readouterr().out == (
        "Deleted 0 sessions, 0 refresh tokens, 0 rate-limit rows, 0 mailed links, "
        "0 personal access tokens, 0 audit events and 0 entries of the job log.\n"
    )


ADD_JOB = """
INSERT INTO pgqueuer.pgqueuer (priority, status, entrypoint, payload, execute_after)
VALUES (0, %s, 'Purge', '{}', now() - make_interval(hours => 1)) RETURNING id
"""


@pytest.mark.usefixtures("empty")
def test_worker_runs_the_waiting_jobs(
    environment: pytest.MonkeyPatch, test_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    query(test_database, ADD_JOB % "'queued'")
    assert main(["doctor"]) == 1
    late = re.search(r"wrong  jobs: 1 wait, the oldest for (\d+) sec", capsys.readouterr().out)
    assert late
    assert int(late[1]) >= 3600

    assert main(["worker", "--once"]) == 0

    assert query(test_database, "SELECT count(*) FROM pgqueuer.pgqueuer") == 0
    assert main(["doctor"]) == 0
    assert "ok     jobs: 0 wait" in capsys.readouterr().out


@pytest.mark.usefixtures("empty")
def test_dead_letters_are_reported_and_run_again(
    environment: pytest.MonkeyPatch, test_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    query(test_database, ADD_JOB % "'failed'")
    assert main(["doctor"]) == 0
    assert "hint   jobs: 1 have failed too often" in capsys.readouterr().out
    assert main(["jobs"]) == 0
    assert "1 jobs have failed too often." in capsys.readouterr().out

    assert main(["jobs", "--retry"]) == 0

    assert "1 dead letters run again.\n1 jobs wait" in capsys.readouterr().out
    assert query(test_database, "SELECT status::text FROM pgqueuer.pgqueuer") == "queued"


def test_database_without_migrations_prints_one_line(
    environment: pytest.MonkeyPatch, worker_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("DATABASE_URL", database_url(f"{worker_id}_empty"))

    assert create_user(environment, "ada@example.com", PASSWORD) == 1
    message = "The database is behind this code: run python -m app migrate.\n"
    assert capsys.readouterr().err == message


@pytest.mark.usefixtures("empty")
def test_missing_privilege_is_not_taken_for_a_missing_migration(
    environment: pytest.MonkeyPatch, test_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # As for a role without this privilege. A server of a team may have no such role.
    query(
        test_database,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE insufficient_privilege USING MESSAGE = 'permission denied'; END $$",
    )
    try:
        trigger = "CREATE TRIGGER refuse BEFORE INSERT ON users EXECUTE FUNCTION refuse()"
        query(test_database, trigger)
        assert create_user(environment, "ada@example.com", PASSWORD) == 1
    finally:
        query(test_database, "DROP FUNCTION refuse CASCADE")

    assert capsys.readouterr() == ("", "Postgres: permission denied\n")


def test_doctor_reports_no_problems(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == ["ok"] * 6


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("JWT_SECRET", "short", "wrong  settings: JWT_SECRET is shorter"),
        (
            "DATABASE_URL",
            "postgresql://u:hunter2@127.0.0.1:1/x",
            "wrong  database: DATABASE_URL (127.0.0.1:1): Connection",
        ),
        (
            "MIGRATION_DATABASE_URL",
            "postgresql://u:hunter2@127.0.0.1:1/x",
            "ok     migrations: up to date\n"
            "wrong  migration database: MIGRATION_DATABASE_URL (127.0.0.1:1)",
        ),
    ],
)
def test_doctor_reports_wrong_settings(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    message: str,
) -> None:
    environment.setenv(variable, value)

    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert message in out
    assert "hunter2" not in out


def test_doctor_also_checks_the_migration_database(
    environment: pytest.MonkeyPatch, test_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = f"{test_database}{'&' if '?' in test_database else '?'}application_name=migrate"
    for url, lines in ((test_database, 0), (other, 1)):
        environment.setenv("MIGRATION_DATABASE_URL", url)
        assert main(["doctor"]) == 0
        assert capsys.readouterr().out.count("ok     migration database: answers\n") == lines


@pytest.mark.parametrize(
    ("name", "addresses", "line"),
    [
        (
            "production",
            "",
            "hint   proxy trust: only 127.0.0.1 may name clients; a proxy elsewhere",
        ),
        ("production", "10.0.0.0/8", "ok     proxy trust: only 10.0.0.0/8 may name clients\n"),
        ("local", "", "ok     proxy trust: only 127.0.0.1 may name clients\n"),
    ],
)
def test_doctor_reports_which_proxies_are_trusted(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    addresses: str,
    line: str,
) -> None:
    environment.setenv("ENVIRONMENT", name)
    environment.setenv("FORWARDED_ALLOW_IPS", addresses)

    assert main(["doctor"]) == 0
    assert line in capsys.readouterr().out


def test_doctor_reports_a_database_that_is_behind(
    environment: pytest.MonkeyPatch,
    test_database: str,
    worker_id: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment.setenv("DATABASE_URL", database_url(f"{worker_id}_behind"))

    assert main(["doctor"]) == 1
    assert "wrong  migrations: behind this code" in capsys.readouterr().out


def test_doctor_reports_an_smtp_server_that_does_not_answer(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("SMTP_URL", "smtp://u:hunter2@127.0.0.1:1")
    environment.setenv("MAIL_FROM", "no-reply@example.com")

    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "wrong  mail: SMTP_URL (127.0.0.1:1): " in out
    assert "hunter2" not in out


def test_doctor_reports_the_applied_sslmode_and_a_broken_passlib(
    environment: pytest.MonkeyPatch, test_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> bool:
        raise AttributeError

    environment.setattr(CryptContext, "verify", fail)
    environment.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/x?channel_binding=require")

    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "wrong  password hashing: Password hashing does not work: passlib is installed" in out
    assert "using sslmode=verify-full" in out


def test_interrupted_command_prints_one_line(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: str) -> str:
        raise KeyboardInterrupt

    environment.setattr("getpass.getpass", interrupt)

    assert main(["create-user", "ada@example.com"]) == 130
    assert capsys.readouterr().err == "\nInterrupted.\n"


def test_unavailable_database_is_reported_without_the_password(
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
