"""A limit on request bodies."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.middleware.headers import find_header
from app.api.problems import TOO_LARGE, problem_response

MAX_BODY_BYTES = 1024 * 1024
# No valid length has more digits. `int` raises an error for thousands of digits.
MAX_DIGITS = 20


class BodyLimitMiddleware:
    """Rejects a body over 1 MiB, by its `Content-Length` or by the number of bytes that arrive.

    FastAPI's own limit responds outside all middleware, in plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = find_header(scope, b"content-length") or "0"
        is_number = declared.isdecimal() and len(declared) <= MAX_DIGITS
        if not is_number or int(declared) > MAX_BODY_BYTES:
            await problem_response(Request(scope), TOO_LARGE)(scope, receive, send)
            return
        size = 0

        async def receive_some() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY_BYTES:
                raise HTTPException(413)
            return message

        await self.app(scope, receive_some, send)
