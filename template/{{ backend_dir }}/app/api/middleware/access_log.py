"""The access log: one line per request, once it is answered."""

import logging
import time

import structlog
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.middleware.paths import route_path

log = structlog.stdlib.get_logger(__name__)
# Says whether there will be a line, before it is put together.
standard_log = logging.getLogger(__name__)

HEALTH = ("/health", "/health/ready")


class AccessLogMiddleware:
    """Logs method, route, status, milliseconds, and the id of who is signed in.

    The route is a pattern, such as `/api/v1/users/me/sessions/{session_id}`; what was typed in its
    place, or in a query, may be private and is not logged. Health checks come every few seconds, so
    they are logged at DEBUG.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status: int | None = None  # of who hung up before there was an answer

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
    """Give the route with the prefixes of its routers, which it does not know; None without one."""
    route = scope.get("route")
    if not isinstance(route, Route):
        return None
    filled = route.path_format.format(**scope["path_params"])
    path = route_path(scope)
    return f"{path[: len(path) - len(filled)]}{route.path_format}"
