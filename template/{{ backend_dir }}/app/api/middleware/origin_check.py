"""Protection against cross-site request forgery: which origins may send unsafe requests."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from app.api.problems import CROSS_SITE, problem_response

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class OriginCheckMiddleware:
    """Rejects unsafe requests that a page of another origin sends with the user's cookies.

    SameSite alone is not enough: it allows sibling subdomains, and `none` allows every site.
    Browsers state truthfully where a request comes from (Fetch Metadata, `Origin`). A client that
    sends neither header is not a browser, and has no other person's cookies. A WebSocket begins
    with a GET request that CORS does not cover; it counts as unsafe.

    origins: the allowlist, normalized. scheme: the scheme of the backend's own origin. It comes
    from the settings, never from a proxy header.
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
            await WebSocketClose()(scope, receive, send)  # not accepted yet, so this sends a 403
        else:
            await problem_response(Request(scope), CROSS_SITE)(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        origins = headers.getlist("origin")
        site = headers.get("sec-fetch-site")
        if origins == ["null"]:
            # `Referrer-Policy: no-referrer` hides the origin in same-origin requests too.
            return site == "same-origin"
        if origins:
            own = f"{self.scheme}://{headers.get('host', '').lower()}"
            return len(origins) == 1 and (origins[0] in self.origins or origins[0] == own)
        return site in (None, "same-origin", "none")
