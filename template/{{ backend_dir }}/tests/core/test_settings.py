from pathlib import Path

import pytest
import structlog

from app.core.settings import Settings
from app.core.startup import ConfigurationError, load_or_exit, load_settings

GOOD = {
    "DATABASE_URL": "postgresql://user:pass@localhost/name",
    "JWT_SECRET": "0123456789abcdefghijklmnopqrstuv",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Return an environment with only the two required variables, and without `.env`."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def problems() -> tuple[str, ...]:
    """Load invalid settings, and return the lines of the error message."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    return tuple(str(caught.value).splitlines())


def test_two_variables_are_required_and_the_defaults_are_secure() -> None:
    settings = load_settings()

    assert settings.environment == "production"
    assert settings.cookie_secure
    assert not settings.docs_are_on
    assert settings.sign_up == "closed"
    assert settings.bcrypt_rounds == 12
    assert settings.migration_database.dsn == settings.database.dsn


def test_all_problems_are_reported_at_once_on_separate_lines(
    environment: pytest.MonkeyPatch,
) -> None:
    wrong = {
        "DATABASE_URL": "",
        "JWT_SECRET": "",
        "COOKIE_SECURE": "false",
        "CORS_ORIGINS": "*",
        "PORT": "http",
        "REFRESH_GRACE_SECONDS": "61",
        "ENVIRONMENT": "production",
    }
    for name, value in wrong.items():
        environment.setenv(name, value)

    lines = problems()

    names = {line.split(" ")[0] for line in lines}
    assert names == set(wrong) - {"ENVIRONMENT"}
    assert "is missing; make one with" in next(li for li in lines if li.startswith("JWT_SECRET"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ENVIRONMENT", "prod", "'local', 'test', 'staging' or 'production'"),
        ("DATABASE_URL", "mysql://user:hunter2@host/name", "must begin with postgresql://"),
        ("DATABASE_URL", "postgresql://user:hunter2@host/name?wal=1", "unknown parameter 'wal'"),
        ("DATABASE_URL", "postgresql://user:hunt#er2@host/name", "percent-encode"),
        ("MIGRATION_DATABASE_URL", "hunter2", "must begin with postgresql://"),
        ("DATABASE_POOL_SIZE", "0", "greater than or equal to 1"),
        ("JWT_SECRET", "hunter2", "shorter than 32 bytes"),
        ("JWT_SECRET", "change-me-change-me-change-me-hunter2", "placeholder"),
        ("JWT_SECRET", "x" * 64, "placeholder"),
        ("JWT_PREVIOUS_SECRETS", "hunter2,0123456789abcdefghijklmnopqrstuv", "shorter"),
        ("COOKIE_SECURE", "false", "only where ENVIRONMENT is local or test"),
        ("COOKIE_SECURE", "hunter2", "valid boolean"),
        ("COOKIE_DOMAIN", "https://hunter2", "match pattern"),
        ("CORS_ORIGINS", "null", "may not contain * or null"),
        ("CORS_ORIGINS", "https://*.hunter2.com", "exact origins"),
        ("CORS_ORIGINS", "https://hunter2.com/path", "without a path"),
        ("CORS_ORIGINS", "https://hunter2.com:port", "not an origin"),
        ("FORWARDED_ALLOW_IPS", "*", "may not be * in production"),
        ("FORWARDED_ALLOW_IPS", "hunter2", "addresses and networks"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1,0.0.0.0/0", "may not name everybody"),
        ("CORS_ORIGINS", "https://a hunter2.com", "no host name"),
        ("SESSION_TTL_SECONDS", "99999999999999999", "less than or equal"),
        ("DATABASE_URL", "postgresql://u:p@host:99999999/hunter2", "port"),
        ("DATABASE_URL", "postgresql://u:123?hunter2=x@host/db", "has a ? in its password"),
        ("JWT_SECRET", "hunter2 \udcff" * 8, "not UTF-8"),
        ("PASSWORD_MIN_LENGTH", "7", "greater than or equal to 8"),
    ],
)
def test_invalid_value_is_explained_and_not_shown(
    environment: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    environment.setenv(name, value)
    (line,) = problems()

    assert line.startswith(f"{name} ")
    assert message in line
    assert "hunter2" not in line


def test_samesite_none_requires_secure_cookies(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ENVIRONMENT", "local")
    environment.setenv("COOKIE_SECURE", "false")
    environment.setenv("COOKIE_SAMESITE", "none")
    (line,) = problems()

    assert line.startswith("COOKIE_SAMESITE none demands COOKIE_SECURE=true")


def test_lists_are_comma_separated_and_origins_are_normalized(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv(
        "CORS_ORIGINS", "HTTPS://App.Example.com:443/, http://localhost:5173 ,http://[::1]:80,"
    )
    environment.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8, ::1")
    settings = load_settings()

    assert settings.cors_origins == (
        "https://app.example.com",
        "http://localhost:5173",
        "http://[::1]",
    )
    assert settings.forwarded_allow_ips == ("10.0.0.0/8", "::1")


def test_links_to_the_frontend_have_no_double_slash(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FRONTEND_URL", "https://example.com/shop/")
    assert load_settings().frontend_url == "https://example.com/shop"


def test_every_proxy_may_be_trusted_outside_production(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ENVIRONMENT", "staging")
    environment.setenv("FORWARDED_ALLOW_IPS", "*")

    assert load_settings().forwarded_allow_ips == ("*",)


def test_database_pooler_does_not_apply_to_the_migration_database(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("DATABASE_POOLER", "true")
    assert load_settings().migration_database.pooled
    environment.setenv("MIGRATION_DATABASE_URL", GOOD["DATABASE_URL"])
    assert load_settings().migration_database.pooled
    environment.setenv("MIGRATION_DATABASE_URL", "postgresql://user:pass@direct/name")
    settings = load_settings()
    assert settings.database.pooled
    assert not settings.migration_database.pooled


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({"SIGNUP_ENABLED": "true"}, "open"),
        ({"SIGNUP_ENABLED": "true", "SIGNUP_MODE": "closed"}, "closed"),
        ({"SIGNUP_MODE": "open"}, "open"),
    ],
    ids=str,
)
def test_signup_mode_replaces_signup_enabled(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    mode: str,
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)

    assert load_or_exit().sign_up == mode

    warned = "set SIGNUP_MODE=open instead of SIGNUP_ENABLED=true" in capsys.readouterr().err
    assert warned is ("SIGNUP_ENABLED" in variables)


def test_environment_overrides_dotenv_and_other_lines_are_ignored(
    environment: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("JWT_SECRET=\nPORT=1234\nSIGNUP_ENABLED=true\nVITE_URL=x\n")
    environment.setenv("PORT", "4321")

    settings = load_settings()

    assert settings.port == 4321
    assert settings.signup_enabled
    assert settings.jwt_secret.get_secret_value() == GOOD["JWT_SECRET"]


def test_dotenv_that_is_not_utf8_text_is_reported() -> None:
    Path(".env").write_bytes(b"\xff\xfe")

    assert problems() == (".env is not UTF-8 text; save it as UTF-8",)


def test_settings_repr_shows_no_secret() -> None:
    shown = repr(load_settings())

    assert "pass@" not in shown
    assert GOOD["JWT_SECRET"] not in shown


def test_replaced_url_parameter_is_logged(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("DATABASE_URL", "postgresql://host/name?channel_binding=require")
    load_or_exit()

    assert "using sslmode=verify-full" in capsys.readouterr().err


def test_a_traceback_on_the_console_shows_no_variables(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("ENVIRONMENT", "local")
    load_or_exit()

    value = "hunter2"

    def fail(password: str) -> None:
        raise RuntimeError(str(len(password)))

    try:
        fail(value)
    except RuntimeError:
        structlog.stdlib.get_logger("test").exception("internal_error")

    error = capsys.readouterr().err
    assert "RuntimeError: 7" in error
    assert value not in error
    assert "locals" not in error
