"""Protection against cross-site request forgery: which origins may send unsafe requests."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import CROSS_SITE, refuse

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class OriginCheckMiddleware:
    """Rejects unsafe requests that a page of another origin sends with the user's cookies.

    SameSite alone is not enough: it allows sibling subdomains, and `none` allows every site.
    Browsers state truthfully where a request comes from (Fetch Metadata, `Origin`). A client that
    sends neither header is not a browser, and has no other person's cookies. A WebSocket begins
    with a GET request that CORS does not cover; it counts as unsafe.

    origins: the allowlist, normalized. scheme: the scheme of the backend's own origin. It comes
    from the settings, never from a proxy header. accepts_tokens: whether programs may send personal
    access tokens. A browser adds no such token by itself, so a request that has one and no cookies
    needs no check.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        origins: Collection[str],
        scheme: str,
        accepts_tokens: bool = False,
    ) -> None:
        self.app = app
        self.origins = frozenset(origins)
        self.scheme = scheme
        self.accepts_tokens = accepts_tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_safe = scope["type"] == "lifespan" or scope.get("method") in SAFE_METHODS
        if is_safe or self._is_allowed(Headers(scope=scope)):
            await self.app(scope, receive, send)
        else:
            await refuse(CROSS_SITE, scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        # Not any `Authorization`: a browser adds the password of HTTP Basic by itself.
        has_token = headers.get("authorization", "").lower().startswith("bearer ")
        if self.accepts_tokens and has_token and "cookie" not in headers:
            return True
        return is_allowed_origin(headers, self.origins, self.scheme)


def is_allowed_origin(headers: Headers, allowed: Collection[str], scheme: str) -> bool:
    """Return whether a page of an allowed origin, or no page, sends a request.

    allowed, scheme: the `origins` and the `scheme` of the middleware.
    """
    origins = headers.getlist("origin")
    site = headers.get("sec-fetch-site")
    if origins == ["null"]:
        # `Referrer-Policy: no-referrer` hides the origin in same-origin requests too.
        return site == "same-origin"
    if origins:
        own = f"{scheme}://{headers.get('host', '').lower()}"
        return len(origins) == 1 and (origins[0] in allowed or origins[0] == own)
    return site in (None, "same-origin", "none")
