"""The request ID, and the headers of every response."""

import re
import secrets

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.middleware.headers import find_header
from app.api.middleware.paths import route_path
from app.api.state import state_of

# Long enough for the IDs of tracing systems, without characters that could forge a log line.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# A browser or a proxy must not show one user's response to another.
PRIVATE_PATHS = "/api/"
# The messages that begin a response, including the responses to the handshake of a WebSocket.
RESPONSE = "http.response.start"
RESPONSES = (RESPONSE, "websocket.accept", "websocket.http.response.start")


class RequestIdMiddleware:
    """Adds the request ID to the response, the log lines and the problem documents.

    It also adds security headers. An endpoint can set `Cache-Control` and
    `Cross-Origin-Resource-Policy` itself. By default, nothing under `/api/` and nothing for an
    authenticated user is cached, and pages of other sites cannot embed a response (ASVS 5.0 3.5.8).
    A frontend on a sibling subdomain can, because the value is `same-site`.

    hsts: whether browsers should use only https for this host from now on (RFC 6797).
    """

    def __init__(self, app: ASGIApp, *, hsts: bool) -> None:
        self.app = app
        self.headers = [(b"x-content-type-options", b"nosniff")]
        if hsts:
            self.headers.append((b"strict-transport-security", b"max-age=31536000"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        proposed = find_header(scope, b"x-request-id") or ""
        request_id = proposed if REQUEST_ID.fullmatch(proposed) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)

        async def send_with_headers(message: Message) -> None:
            if message["type"] in RESPONSES:
                headers = [*message.get("headers", ()), *self.headers]
                headers.append((b"x-request-id", request_id.encode()))
                chosen = {name for name, _ in headers}
                if b"cross-origin-resource-policy" not in chosen:
                    headers.append((b"cross-origin-resource-policy", b"same-site"))
                if b"cache-control" not in chosen and _is_private(scope):
                    headers.append((b"cache-control", b"no-store"))
                if message["type"] == RESPONSE and state_of(scope["app"]).draining:
                    # A proxy that keeps connections open then connects to another process.
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _is_private(scope: Scope) -> bool:
    return route_path(scope).startswith(PRIVATE_PATHS) or "user_id" in scope["state"]
