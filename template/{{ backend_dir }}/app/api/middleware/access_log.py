"""The access log: one line for each request, after the response."""

import logging
import time

import structlog
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.middleware.paths import route_path

log = structlog.stdlib.get_logger(__name__)
# Shows whether the level is enabled, before the line is built.
standard_log = logging.getLogger(__name__)

HEALTH = ("/health", "/health/ready")


class AccessLogMiddleware:
    """Logs the method, route, status, milliseconds, and the ID of the authenticated user.

    The route is a pattern, such as `/api/v1/users/me/sessions/{session_id}`. The values in a path
    or a query may be private and are not logged. Health checks come every few seconds, so they are
    logged at DEBUG.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status: int | None = None  # stays None if the client disconnects before the response

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            level = logging.DEBUG if route_path(scope) in HEALTH else logging.INFO
            if standard_log.isEnabledFor(level):
                log.log(
                    level,
                    "request",
                    method=scope["method"],
                    route=_pattern(scope),
                    status=status,
                    milliseconds=round((time.perf_counter() - started) * 1000, 1),
                    user_id=scope["state"].get("user_id"),
                )


def _pattern(scope: Scope) -> str | None:
    """Return the pattern of the route, with the prefixes of its routers; None without a route."""
    route = scope.get("route")
    if not isinstance(route, Route):
        return None
    filled = route.path_format.format(**scope["path_params"])
    path = route_path(scope)
    return f"{path[: len(path) - len(filled)]}{route.path_format}"
