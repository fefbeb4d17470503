"""The dependency of streams: WebSockets and server-sent events. See docs/streaming.md."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Response, WebSocket, WebSocketException
from starlette.requests import HTTPConnection

from app.api.deps import CurrentAuth, CurrentSettings, State
from app.api.middleware.origin_check import is_allowed_origin
from app.api.problems import CrossSiteRequest
from app.services.sessions.authentication import AuthContext

UNSUPPORTED_DATA = 1003


async def check_origin(connection: HTTPConnection, settings: CurrentSettings) -> None:
    """Raise `CrossSiteRequest` if a page of another origin opens the stream.

    The middleware checks only WebSockets and unsafe requests. A stream uses the server for a long
    time even if the browser does not let the page read it.
    """
    if not is_allowed_origin(connection.headers, settings.cors_origins, settings.own_scheme):
        raise CrossSiteRequest


async def watch_session(
    _origin: Annotated[None, Depends(check_origin)],
    auth: CurrentAuth,
    state: State,
    response: Response,
) -> AsyncIterator[AuthContext]:
    """Authenticate the request, and end the stream when the session is no longer active.

    The endpoint is then canceled. `ErrorMiddleware` closes a WebSocket with the code 1008, and
    completes the response with the events.

    Raise `CrossSiteRequest`, `NotAuthenticated` or `TooManyStreams`.
    """
    response.headers["Cache-Control"] = "no-store"  # FastAPI itself sends only `no-cache`
    async with state.watcher.watch(auth):
        yield auth


StreamAuth = Annotated[AuthContext, Depends(watch_session)]


async def receive_texts(socket: WebSocket) -> AsyncIterator[str]:
    """Yield the messages of a WebSocket until the client closes it.

    Raise `WebSocketException` for a message that is not text.
    """
    try:
        async for text in socket.iter_text():
            yield text
    except KeyError:  # Starlette's, for a binary message
        raise WebSocketException(UNSUPPORTED_DATA) from None
