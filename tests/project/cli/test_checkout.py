"""The commands if `.env` does not exist yet, or if it has errors."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from app.cli import main
from app.core.startup import misspelled_names
from app.db import embedded
from tests.conftest import PASSWORD, SECRET
from tests.postgres import database_url
from tests.processes import ROOT

HINT = "There is no .env here; on a developer's machine, run make dev"
DEPLOYMENT = ("DATABASE_URL is missing", "JWT_SECRET is missing")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with `env.example`, and remove all settings from the environment."""
    (tmp_path / "env.example").write_text((ROOT / "env.example").read_text())
    monkeypatch.chdir(tmp_path)
    with patch.dict(os.environ):  # also restores what the commands set
        for name in ("ENVIRONMENT", "DATABASE_URL", "MIGRATION_DATABASE_URL", "JWT_SECRET"):
            os.environ.pop(name, None)
        yield tmp_path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """Run a command that rejects the settings, and return the lines that it prints."""
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    return printed.err.splitlines()


def test_commands_without_dotenv_use_the_settings_of_env_example(
    checkout: Path, worker_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database_url(f"{worker_id}_checkout")
    monkeypatch.setattr(embedded, "start", lambda _: url)
    commands = (
        ["migrate"],
        ["create-user", "ada@example.com", "--password-stdin"],
        ["end-sessions", "--all"],
        ["purge"],
        ["doctor"],
        ["reset", "--yes"],
    )
    for command in commands:
        with patch.dict(os.environ):  # each command is a new process
            monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
            assert main(command) == 0, command

    assert [path.name for path in checkout.iterdir()] == ["env.example"]


def test_serve_without_dotenv_prints_a_hint_for_developers(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = fails(capsys, "serve")

    assert len(lines) == 3
    assert lines[2].startswith(HINT)
    for line, start in zip(lines, DEPLOYMENT, strict=False):
        assert line.startswith(start)


@pytest.mark.parametrize("command", ["serve", "migrate", "purge", "shell", "psql"])
@pytest.mark.parametrize("where", ["image", "deployment", "without development dependencies"])
def test_deployment_without_settings_reports_the_missing_ones(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    where: str,
) -> None:
    if where == "image":
        (checkout / "env.example").unlink()
    elif where == "deployment":
        os.environ["ENVIRONMENT"] = "production"
    else:
        monkeypatch.setattr(embedded, "is_installed", lambda: False)

    lines = fails(capsys, command)

    for line, start in zip(lines, DEPLOYMENT, strict=False):
        assert line.startswith(start)
    hints = [line for line in lines if line.startswith(HINT)]
    assert len(hints) == (where == "without development dependencies")
    assert len(lines) == 2 + len(hints)


def test_only_names_that_resemble_a_setting_are_reported(
    checkout: Path, test_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        "CORS_ORIGIN=http://localhost:3000",
        "cookie_secure=false",
        "COOKIE_SAMESITE=lax",  # the project's answer may be none, which requires secure cookies
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317",
        "TEST_DATABASE_URL=postgresql://localhost/app_test",
        "OPENAI_API_KEY=sk-1234",
        "ENVIRONMENT=test",
        f"DATABASE_URL={test_database}",
        f"JWT_SECRET={SECRET}",
    ]
    (checkout / ".env").write_text("\n".join(lines))
    line = "CORS_ORIGIN in .env is not a setting; did you mean CORS_ORIGINS?"

    assert misspelled_names() == [line]
    assert main(["doctor"]) == 0
    assert f"hint   settings: {line}\n" in capsys.readouterr().out


def test_misspelled_name_of_a_missing_setting_is_reported(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / ".env").write_text(f"DATABASE_URL=postgresql:///x\nJWT_SECRETS={SECRET}\n")

    missing, hint = fails(capsys, "migrate")

    assert missing.startswith("JWT_SECRET is missing")
    assert hint == "JWT_SECRETS in .env is not a setting; did you mean JWT_SECRET?"


def test_dotenv_that_is_a_directory_is_reported(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / ".env").mkdir()  # Docker creates one if it mounts a file that does not exist
    monkeypatch.setattr("signal.signal", lambda *_: None)

    assert fails(capsys, "migrate")[-1].startswith(".env is a directory; remove it")
    assert main(["dev"]) == 1
    assert capsys.readouterr().err == ".env is a directory; remove it and start dev again.\n"


def test_unreadable_dotenv_is_reported(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.open

    def reject(path: Path, *args: object, **options: object) -> object:
        if path.name == ".env":
            raise PermissionError(13, "Permission denied", ".env")
        return read(path, *args, **options)  # type: ignore[call-overload]  # passed on unchanged

    (checkout / ".env").write_text("ENVIRONMENT=local\n")
    # Root may read all files, so the file's mode would have no effect here.
    monkeypatch.setattr(Path, "open", reject)
    monkeypatch.setattr("builtins.open", lambda path, *a, **o: reject(Path(path), *a, **o))

    line = ".env can't be read (Permission denied); change its owner or its permissions"
    assert fails(capsys, "migrate") == [line]
    assert main(["doctor"]) == 1
    assert f"wrong  settings: {line}\n" in capsys.readouterr().out
