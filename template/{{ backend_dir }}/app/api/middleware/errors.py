"""Error responses, created inside the middleware that adds the headers of every response."""

from contextlib import suppress
from typing import Final

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose, WebSocketDisconnect

from app.api.problems import INTERNAL, NOT_READY, Problem, problem_of, problem_response, refuse
from app.api.state import state_of
from app.services.errors import ServerStopping, SessionNotActive
from app.services.sessions.watching import SessionNotChecked

log = structlog.stdlib.get_logger(__name__)

# The exceptions that end a stream as planned; see `SessionWatcher`.
END_OF_STREAM: Final = (SessionNotActive, SessionNotChecked, ServerStopping)
# RFC 6455 7.4.1, and the IANA registry of close codes.
POLICY_VIOLATION, INTERNAL_ERROR, SERVICE_RESTART, TRY_AGAIN_LATER = 1008, 1011, 1012, 1013


class ErrorMiddleware:
    """Turns exceptions into problem documents, and an unexpected exception into a 500.

    Starlette creates its own 500 outside all middleware. It has no CORS headers, so a frontend
    could not read it. An exception closes an accepted WebSocket with the code of `close_code`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception as error:
            if started and isinstance(error, END_OF_STREAM):
                await send({"type": "http.response.body", "body": b""})
                return
            if started:
                raise  # a part of the response has been sent; the server closes the connection
            problem = _log_problem(error)
            response = problem_response(Request(scope), problem)
            if problem.clears_cookies:
                state_of(scope["app"]).cookies.clear(response)
            await response(scope, receive, send)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        last = None

        async def send_and_note(message: Message) -> None:
            nonlocal last
            last = message["type"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except WebSocketDisconnect:
            pass  # the client has closed the connection
        except Exception as error:
            problem = _log_problem(error)
            if last is None:
                await refuse(problem, scope, receive, send)
            elif last in ("websocket.accept", "websocket.send"):
                with suppress(OSError):  # the client has closed the connection meanwhile
                    await WebSocketClose(close_code(problem))(scope, receive, send)


def close_code(problem: Problem) -> int:
    """Return the code with which a problem closes an accepted WebSocket."""
    if problem == NOT_READY:
        return SERVICE_RESTART
    return {500: INTERNAL_ERROR, 503: TRY_AGAIN_LATER}.get(problem.status, POLICY_VIOLATION)


def _log_problem(error: Exception) -> Problem:
    """Return the problem that an exception leads to, and log what an operator should know."""
    problem = problem_of(error)
    if problem is None:
        log.exception("internal_error")
    elif problem.status == 503 and problem != NOT_READY:
        log.warning("unavailable", reason=str(error) or type(error).__name__)
    return problem or INTERNAL
