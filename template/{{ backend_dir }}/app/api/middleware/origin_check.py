"""Cross-site request forgery: which origins may change anything."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from app.api.problems import CROSS_SITE, problem_response

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class OriginCheckMiddleware:
    """Refuses unsafe requests that a page of another origin makes with the user's cookies.

    SameSite alone does not do it: it lets sibling subdomains through, and `none` everybody.
    Browsers say truthfully where a request comes from (Fetch Metadata, `Origin`); what says
    nothing at all is no browser, and holds no one else's cookies. A WebSocket, which CORS does not
    cover, begins with a GET; it counts as unsafe.

    origins: the allowlist, normalized. scheme: of the backend's own origin. It comes from the
    settings, never from what a proxy header claims.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str], scheme: str) -> None:
        self.app = app
        self.origins = frozenset(origins)
        self.scheme = scheme

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_safe = scope["type"] == "lifespan" or scope.get("method") in SAFE_METHODS
        if is_safe or self._is_allowed(Headers(scope=scope)):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)  # not accepted yet, so a 403
        else:
            await problem_response(Request(scope), CROSS_SITE)(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        origins = headers.getlist("origin")
        site = headers.get("sec-fetch-site")
        if origins == ["null"]:
            # Referrer-Policy: no-referrer hides the origin, also from the same origin.
            return site == "same-origin"
        if origins:
            own = f"{self.scheme}://{headers.get('host', '').lower()}"
            return len(origins) == 1 and (origins[0] in self.origins or origins[0] == own)
        return site in (None, "same-origin", "none")
