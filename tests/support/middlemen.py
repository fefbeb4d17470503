"""The servers around the application in production: nginx before it, and PgBouncer behind it."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.postgres import Postgres, children, other_user
from tests.support.servers import Server, free_port, started, wait_until
from tests.support.tools import require

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_header_timeout {patience}s;
  client_body_timeout {patience}s;
  client_max_body_size 0;
  upstream app {{
    {servers}
    keepalive 16;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_request_buffering off;
      proxy_next_upstream {next_upstream};
    }}
  }}
}}
"""

PGBOUNCER = """
[databases]
* = host=127.0.0.1 port={postgres} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
"""


@dataclass(frozen=True)
class Nginx:
    """A proxy that distributes requests over several ports.

    next_upstream: the value of `proxy_next_upstream`, the failures after which nginx tries another
    port. "off" hides no failure.
    patience_seconds: how long a client may be silent in the middle of a request.
    """

    port: int
    folder: Path
    next_upstream: str = "off"
    patience_seconds: int = 60

    def write(self, *ports: int) -> Path:
        """Write the configuration, and return its path."""
        text = NGINX.format(
            folder=self.folder,
            port=self.port,
            # nginx uses a failed server again immediately, so that it hides no further failure.
            servers="\n    ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports),
            next_upstream=self.next_upstream,
            patience=self.patience_seconds,
        )
        path = self.folder / "nginx.conf"
        path.write_text(text, encoding="utf-8")
        return path

    @contextmanager
    def before(self, *ports: int) -> Iterator[Server]:
        """Run it in front of these ports."""
        config = self.write(*ports)
        command: list[str | Path] = [
            require("nginx"),
            "-c",
            config,
            "-p",
            self.folder,
            "-e",
            "stderr",
        ]
        log = self.folder / "nginx.log"
        with started(command, self.folder, {"PORT": str(self.port)}, log) as server:
            server.wait_until_ready()
            yield server

    def move(self, server: Server, *ports: int) -> None:
        """Send requests to these ports from now on, and return when the old worker has exited."""
        (old,) = children(server.process.pid)
        self.write(*ports)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: old not in children(server.process.pid), "nginx does not reload")


@contextmanager
def pgbouncer(postgres: Postgres, folder: Path, size: int) -> Iterator[int]:
    """Run PgBouncer in transaction mode before a server, and yield its port.

    size: how many connections to a database it keeps. With few of them, clients share each one.
    """
    port = free_port()
    path = folder / "pgbouncer.ini"
    text = PGBOUNCER.format(postgres=postgres.port, port=port, size=size)
    path.write_text(text, encoding="utf-8")
    # Like Postgres, it does not run as root.
    with started(
        [require("pgbouncer"), path],
        folder,
        {"PORT": str(port)},
        folder / "pgbouncer.log",
        user=other_user(),
    ) as server:
        wait_until(lambda: accepts(port), server.output)
        yield port


def accepts(port: int) -> bool:
    """Return whether a process listens on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
