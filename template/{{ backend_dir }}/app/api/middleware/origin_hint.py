"""A hint for a developer whose frontend has an origin that `CORS_ORIGINS` lacks."""

from collections.abc import Collection

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.middleware.headers import find_header
from app.core.origins import parse_origin

log = structlog.stdlib.get_logger(__name__)


class OriginHintMiddleware:
    """Logs an origin that is not allowed, with the setting that allows it; for development only.

    The browser does not tell a page the reason, and a page cannot read the response to a rejected
    preflight request.

    origins: the allowlist, normalized. scheme: the scheme of the backend's own origin.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str], scheme: str) -> None:
        self.app = app
        self.origins = frozenset(origins)
        self.scheme = scheme

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (sent := find_header(scope, b"origin")):
            own = f"{self.scheme}://{(find_header(scope, b'host') or '').lower()}"
            if sent not in self.origins and sent != own:
                self._log(sent)
        await self.app(scope, receive, send)

    def _log(self, sent: str) -> None:
        try:
            origin = parse_origin(sent)  # the log contains no other text of a client
        except ValueError:
            return
        log.warning(
            "origin_not_allowed",
            origin=origin,
            hint="if this is your frontend, add its origin to CORS_ORIGINS in .env",
        )
