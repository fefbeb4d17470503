"""`serve`: Uvicorn for production."""

import os
import signal
import socket
import sys
from types import FrameType

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from app.cli.errors import CommandError
from app.core.http_protocol import BoundedHttpProtocol, BoundedWebSocketProtocol
from app.core.startup import WORKER_STARTUP_FAILURE, load_or_exit

log = structlog.stdlib.get_logger(__name__)

# The usual proxies keep idle connections for 60 s. They must close a connection first.
KEEP_ALIVE_SECONDS = 75
# A request that hangs must not keep the process running forever.
DRAIN_SECONDS = 25
# The limit for one message on a WebSocket, like that for the body of a request.
MAX_MESSAGE_BYTES = 1024 * 1024


def serve() -> int:
    """Serve until SIGTERM, then finish the running requests. Return the exit code."""
    settings = load_or_exit()
    config = uvicorn.Config(
        "app.main:app",
        workers=settings.web_concurrency,
        log_config=None,
        access_log=False,
        server_header=False,
        http=BoundedHttpProtocol,
        ws=BoundedWebSocketProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        forwarded_allow_ips=",".join(settings.forwarded_allow_ips),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    with listen(settings.host, settings.port) as sock:
        host, port, *_ = sock.getsockname()
        log.info("serving", host=host, port=port, workers=settings.web_concurrency)
        if settings.web_concurrency == 1:
            # Uvicorn raises the signal again after a clean shutdown.
            signal.signal(signal.SIGTERM, _exit_well)
            server = uvicorn.Server(config)
            server.run(sockets=[sock])
            return 0 if server.started else WORKER_STARTUP_FAILURE
        supervisor = Multiprocess(config, sockets=[sock])
        supervisor.run()
        # It stops if a worker cannot start, but its exit code does not show that.
        failed = any(worker.exitcode == WORKER_STARTUP_FAILURE for worker in supervisor.processes)
        return WORKER_STARTUP_FAILURE if failed else 0


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address. Raise `CommandError` if it is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual = host == "::" and socket.has_dualstack_ipv6()
    try:
        sock = socket.create_server((host, port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise CommandError(
            f"Can't listen on {host}:{port} ({os.strerror(error.errno or 0)}). "
            "Stop the program that does, or set PORT (or HOST) to another value."
        ) from None
    sock.set_inheritable(True)
    return sock


def check_port(host: str, port: int) -> None:
    """Raise `CommandError` if an address is not available, before anything else starts."""
    listen(host, port).close()


def _exit_well(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
