"""A hint for who forgot to name the proxy in front."""

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.middleware.headers import find_header

log = structlog.stdlib.get_logger(__name__)


class ProxyHintMiddleware:
    """Warns, once per process, of forwarded headers from a peer that `FORWARDED_ALLOW_IPS` lacks.

    Uvicorn ignores them, rightly: anyone can send them. But if it is your proxy that does, all the
    world shares its address, and so one throttle.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self.warned:
            forwarded = find_header(scope, b"x-forwarded-for")
            peer = scope["client"][0] if scope.get("client") else ""
            # Had Uvicorn believed the header, the client's address would be one of those in it.
            if forwarded and peer not in (part.strip() for part in forwarded.split(",")):
                self.warned = True
                log.warning(
                    "untrusted_proxy",
                    peer=peer,
                    hint="if this is your proxy, add its address or network to FORWARDED_ALLOW_IPS",
                )
        await self.app(scope, receive, send)
