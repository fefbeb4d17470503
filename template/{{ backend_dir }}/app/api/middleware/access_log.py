"""The access log: one line for each request, after the response or when the stream has ended."""

import logging
import time

import structlog
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.middleware.paths import route_path

log = structlog.stdlib.get_logger(__name__)
# Shows whether the level is enabled, before the line is built.
standard_log = logging.getLogger(__name__)

HEALTH = ("/health", "/health/ready")
STARTS = ("http.response.start", "websocket.http.response.start")


class AccessLogMiddleware:
    """Logs the method, route, status, milliseconds, and the ID of the authenticated user.

    The route is a pattern, such as `/api/v1/users/me/sessions/{session_id}`. The values in a path
    or a query may be private and are not logged. Health checks come every few seconds, so they are
    logged at DEBUG. The method of a WebSocket is `WEBSOCKET`, and its status is 101 if the server
    has accepted it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status: int | None = None  # stays None if the client disconnects before the response

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] in STARTS:
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            level = logging.DEBUG if route_path(scope) in HEALTH else logging.INFO
            if standard_log.isEnabledFor(level):
                log.log(
                    level,
                    "request",
                    method=scope.get("method", "WEBSOCKET"),
                    route=_pattern(scope),
                    status=status,
                    milliseconds=round((time.perf_counter() - started) * 1000, 1),
                    user_id=scope["state"].get("user_id"),
                )


def _pattern(scope: Scope) -> str | None:
    """Return the pattern of the route, with the prefixes of its routers; None without a route."""
    route = scope.get("route")
    if not isinstance(route, Route | WebSocketRoute):
        return None
    filled = route.path_format.format(**scope["path_params"])
    path = route_path(scope)
    return f"{path[: len(path) - len(filled)]}{route.path_format}"
