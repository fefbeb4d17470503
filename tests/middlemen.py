"""What stands around the application in production: nginx before it, pgbouncer behind it."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.postgres import Postgres, children, other_user
from tests.servers import Server, free_port, started, wait_until
from tests.tools import require

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
    """A proxy that sends each request to the next of some ports.

    next_upstream: what it tries again at another port, in nginx's words. "off" hides no failure.
    patience_seconds: how long a client may be silent in the middle of a request.
    """

    port: int
    folder: Path
    next_upstream: str = "off"
    patience_seconds: int = 60

    def write(self, *ports: int) -> Path:
        """Write the configuration, and give its path."""
        text = NGINX.format(
            folder=self.folder,
            port=self.port,
            # One that has failed is asked again at once: that is not to be hidden either.
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
        """Send to these ports from now on. Returns once nothing goes the old way any more."""
        (old,) = children(server.process.pid)
        self.write(*ports)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: old not in children(server.process.pid), "nginx does not reload")


@contextmanager
def pgbouncer(postgres: Postgres, folder: Path, size: int) -> Iterator[int]:
    """Run pgbouncer in transaction mode before a server; gives its port.

    size: how many connections to a database it keeps; few, so that they change hands.
    """
    port = free_port()
    path = folder / "pgbouncer.ini"
    text = PGBOUNCER.format(postgres=postgres.port, port=port, size=size)
    path.write_text(text, encoding="utf-8")
    # It refuses to run as root, too.
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
    """Return whether something listens on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
