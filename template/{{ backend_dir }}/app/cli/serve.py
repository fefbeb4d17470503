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
from app.core.http_protocol import BoundedHttpProtocol
from app.core.startup import WORKER_STARTUP_FAILURE, load_or_exit

log = structlog.stdlib.get_logger(__name__)

# Longer than the idle connections of the usual proxies (60 s), so that they close first.
KEEP_ALIVE_SECONDS = 75
# A request that hangs does not keep the process for ever.
DRAIN_SECONDS = 25


def serve() -> int:
    """Serve until SIGTERM, then finish what is running. Returns the exit code."""
    settings = load_or_exit()
    config = uvicorn.Config(
        "app.main:app",
        workers=settings.web_concurrency,
        log_config=None,
        access_log=False,
        server_header=False,
        http=BoundedHttpProtocol,
        ws="none",  # there are no WebSockets; drop this line with the first
        forwarded_allow_ips=",".join(settings.forwarded_allow_ips),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    with listen(settings.host, settings.port) as sock:
        host, port, *_ = sock.getsockname()
        log.info("serving", host=host, port=port, workers=settings.web_concurrency)
        if settings.web_concurrency == 1:
            # Uvicorn raises the signal anew once it is done: that is the good end.
            signal.signal(signal.SIGTERM, _exit_well)
            server = uvicorn.Server(config)
            server.run(sockets=[sock])
            return 0 if server.started else WORKER_STARTUP_FAILURE
        supervisor = Multiprocess(config, sockets=[sock])
        supervisor.run()
        # It gives up when a worker can't start, and says nothing of that in its exit code.
        failed = any(worker.exitcode == WORKER_STARTUP_FAILURE for worker in supervisor.processes)
        return WORKER_STARTUP_FAILURE if failed else 0


def listen(host: str, port: int) -> socket.socket:
    """Bind the address. Raise `CommandError`, in one line, when it can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual = host == "::" and socket.has_dualstack_ipv6()
    try:
        sock = socket.create_server((host, port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise CommandError(
            f"Can't listen on {host}:{port} ({os.strerror(error.errno or 0)}). "
            "Stop the program that does, or set PORT (or HOST) to another."
        ) from None
    sock.set_inheritable(True)
    return sock


def check_port(host: str, port: int) -> None:
    """Raise `CommandError` when an address can't be had; before anything else is started."""
    listen(host, port).close()


def _exit_well(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
