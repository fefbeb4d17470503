"""A warning about a proxy that `FORWARDED_ALLOW_IPS` does not name."""

from ipaddress import ip_address
from typing import Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

log = structlog.stdlib.get_logger(__name__)

# A client can forge one address. This many different addresses in a row justify a warning.
HIDDEN_CLIENTS: Final = 3


class ProxyHintMiddleware:
    """Warns, once per process, when `FORWARDED_ALLOW_IPS` seems to lack an address.

    All clients then share one address, and therefore one rate limit. There are two signs of this:

    - The peer sends `X-Forwarded-For`, and Uvicorn does not trust the peer. Uvicorn then ignores
      the header, because anyone can send it.
    - Uvicorn repeatedly takes the same entry of the header as the client, while the entry before it
      changes. The changing entry is then the client, and the entry after it is a proxy, or an
      address of this application (Fly.io appends that one). A client can write entries too, so a
      single request proves nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.warned = False
        self.chosen = ""
        self.hidden: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self.warned:
            forwarded = _forwarded(scope)
            peer = scope["client"][0] if scope.get("client") else ""
            if forwarded and self._lacks_an_address(forwarded, peer):
                self.warned = True
                log.warning(
                    "untrusted_proxy",
                    peer=peer,
                    hint="if this is an address of your proxy, or of this application, add it or "
                    "its network to FORWARDED_ALLOW_IPS",
                )
        await self.app(scope, receive, send)

    def _lacks_an_address(self, forwarded: list[str], peer: str) -> bool:
        if peer not in forwarded:
            return True
        before = forwarded[: len(forwarded) - 1 - forwarded[::-1].index(peer)]
        if not before or not _is_public(before[-1]):
            return False
        if peer != self.chosen:
            self.chosen, self.hidden = peer, set()
        self.hidden.add(before[-1])
        return len(self.hidden) >= HIDDEN_CLIENTS


def _forwarded(scope: Scope) -> list[str]:
    """Return the hosts of all `X-Forwarded-For` headers, without ports, as Uvicorn reads them."""
    values = (value for name, value in scope["headers"] if name == b"x-forwarded-for")
    entries = b",".join(values).decode("latin-1").split(",")
    return [_host(entry.strip()) for entry in entries if entry.strip()]


def _host(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _is_public(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        return False
