"""Error responses, created inside the middleware that adds the headers of every response."""

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import INTERNAL, problem_of, problem_response
from app.api.state import state_of

log = structlog.stdlib.get_logger(__name__)


class ErrorMiddleware:
    """Turns exceptions into problem documents, and an unexpected exception into a 500.

    Starlette creates its own 500 outside all middleware. It has no CORS headers, so a frontend
    could not read it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
            if started:
                raise  # a part of the response has been sent; the server closes the connection
            problem = problem_of(error)
            if problem is None:
                log.exception("internal_error")
            elif problem.status == 503:
                log.warning("unavailable", reason=str(error) or type(error).__name__)
            response = problem_response(Request(scope), problem or INTERNAL)
            if problem and problem.clears_cookies:
                state_of(scope["app"]).cookies.clear(response)
            await response(scope, receive, send)
