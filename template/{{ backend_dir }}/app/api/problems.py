"""Problem documents (RFC 9457), and the table that assigns them to exceptions."""

import math
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from app.api.validation import FieldError
from app.core.cursors import InvalidCursor
from app.core.security import HashingUnavailable
from app.db.session import DatabaseUnavailable
from app.services import errors

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = "5"
# The names of RFC 9110, which Python has used since 3.13. A `type` must not depend on Python.
RENAMED_STATUSES: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


class CrossSiteRequest(Exception):
    """A page of another origin sends the request; see `OriginCheckMiddleware`."""


@dataclass(frozen=True)
class Problem:
    """A kind of error.

    code: the last part of `type`, which a client compares; its meaning never changes.
    clears_cookies: the response clears the cookies of the session, which no request can use again.
    """

    status: int
    code: str
    title: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict, compare=False)
    clears_cookies: bool = False

    @property
    def type(self) -> str:
        """The `type` in the document: a URI reference, as RFC 9457 3.1.1 requires."""
        return f"/problems/{self.code}"


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default")


class ProblemDocument(BaseModel):
    """The body of every error response."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    # Absent if there are none, and never null; the schema says the same.
    errors: list[FieldError] | SkipJsonSchema[None] = Field(
        None, json_schema_extra=_without_default
    )


# RFC 9110 11.6.1 requires the header in a 401 response; no scheme is registered for cookies.
CHALLENGE: Final = {"WWW-Authenticate": "Cookie"}
# RFC 6750 3: for a request with a token in the header `Authorization`.
BEARER_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
RETRY: Final = {"Retry-After": RETRY_AFTER_SECONDS}

INTERNAL: Final = Problem(
    500, "internal", "Internal error", "Something went wrong. Report it with the request ID."
)
UNAVAILABLE: Final = Problem(
    503, "unavailable", "Database unavailable", "Try again in a few seconds.", RETRY
)
NOT_READY: Final = Problem(
    503,
    "not-ready",
    "Not ready",
    "The database is unavailable or has not been migrated, or the process is shutting down.",
    RETRY,
)
CROSS_SITE: Final = Problem(
    403, "cross-site-request", "Cross-site request", "Requests from this origin are not allowed."
)
TOO_LARGE: Final = Problem(
    413, "body-too-large", "Body too large", "A request body can have 1 MiB at most."
)
INVALID: Final = Problem(
    422, "invalid-request", "Invalid request", "The request does not match the API's schema."
)
UNSUPPORTED: Final = Problem(
    415,
    "unsupported-media-type",
    "Unsupported media type",
    "The endpoint does not read this Content-Type.",
)
# The problems that no exception in `PROBLEMS` leads to. The OpenAPI document contains both tables.
OTHER_PROBLEMS: Final = (INTERNAL, TOO_LARGE, INVALID, UNSUPPORTED)

PROBLEMS: Final[dict[type[Exception], Problem]] = {
    errors.InvalidCredentials: Problem(
        401, "invalid-credentials", "Wrong credentials", "Email or password is wrong.", CHALLENGE
    ),
    errors.NotAuthenticated: Problem(
        401, "not-signed-in", "Not signed in", "Sign in, or refresh the session.", CHALLENGE
    ),
    errors.UnknownRefreshToken: Problem(
        401,
        "refresh-token-unknown",
        "Not signed in",
        "Sign in.",
        CHALLENGE,
        clears_cookies=True,
    ),
    errors.ReusedRefreshToken: Problem(
        401,
        "refresh-token-reused",
        "Refresh token reused",
        "Sign in again.",
        CHALLENGE,
        clears_cookies=True,
    ),
    errors.SessionNotActive: Problem(
        401, "session-over", "Session over", "Sign in again.", CHALLENGE
    ),
    errors.SignupDisabled: Problem(
        403, "signup-disabled", "Sign-up disabled", "Ask the operator for an account."
    ),
    errors.EmailTaken: Problem(
        409, "email-taken", "Email taken", "There is an account with this email address."
    ),
    errors.InvalidEmailToken: Problem(
        422,
        "invalid-email-token",
        "Invalid link",
        "The link is no longer valid. Request another.",
    ),
    errors.MailNotConfigured: Problem(
        503, "mail-not-configured", "Mail not configured", "This backend sends no mail."
    ),
    errors.UnacceptablePassword: Problem(
        422, "unacceptable-password", "Unacceptable password", "Choose another password."
    ),
    errors.WrongPassword: Problem(
        422, "wrong-password", "Wrong password", "The current password is wrong."
    ),
    errors.PermissionDenied: Problem(
        403, "permission-denied", "Permission denied", "Your role does not allow this."
    ),
    errors.OwnAccount: Problem(
        403,
        "own-account",
        "Own account",
        "Another administrator must change your role first, or deactivate you.",
    ),
    errors.UserNotFound: Problem(404, "user-not-found", "User not found", "There is no such user."),
    errors.UserNotActive: Problem(
        409, "user-not-active", "User not active", "The user is deactivated."
    ),
    InvalidCursor: Problem(
        422, "invalid-cursor", "Invalid cursor", "Begin again with the first page."
    ),
    errors.InvalidPersonalToken: Problem(
        401,
        "invalid-token",
        "Invalid token",
        "The token is malformed, unknown, expired or revoked.",
        BEARER_CHALLENGE,
    ),
    errors.InsufficientScope: Problem(
        403,
        "insufficient-scope",
        "Insufficient scope",
        "The scopes of the token do not allow this.",
    ),
    errors.PersonalTokenNotFound: Problem(
        404, "token-not-found", "Token not found", "There is no such token."
    ),
    errors.TooManyPersonalTokens: Problem(
        409, "too-many-tokens", "Too many tokens", "Revoke a token before you create another."
    ),
    errors.SessionNotFound: Problem(
        404, "session-not-found", "Session not found", "There is no such session."
    ),
    errors.TooManyAttempts: Problem(
        429, "too-many-attempts", "Too many attempts", "Try again later."
    ),
    errors.TooManyStreams: Problem(
        429, "too-many-streams", "Too many streams", "Close another stream first.", RETRY
    ),
    errors.ServerStopping: NOT_READY,
    CrossSiteRequest: CROSS_SITE,
    HashingUnavailable: Problem(
        503, "busy", "Busy", "Too many sign-ins at once; try again in a few seconds.", RETRY
    ),
    DatabaseUnavailable: UNAVAILABLE,
    PoolTimeout: UNAVAILABLE,
}


def problem_response(
    request: HTTPConnection, problem: Problem, field_errors: list[FieldError] | None = None
) -> JSONResponse:
    """Return the response for a problem. field_errors: the `errors` of a 422 response."""
    document = ProblemDocument(
        type=problem.type,
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        request_id=request.state.request_id,
        errors=field_errors,
    )
    return JSONResponse(
        document.model_dump(exclude_none=True),
        problem.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers,
    )


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to a request, or to the handshake of a WebSocket, with a problem document."""
    if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
        response = problem_response(HTTPConnection(scope), problem)
        await response(scope, receive, send)
    else:
        await WebSocketClose(1008)(scope, receive, send)  # the server responds with a plain 403


def http_problem(status: int) -> Problem:
    """Return the problem that Starlette's `HTTPException` with this status leads to."""
    known = {400: INVALID, 413: TOO_LARGE, 415: UNSUPPORTED}
    if status in known:
        return known[status]
    title = status_name(status) if status in HTTPStatus.__members__.values() else "Error"
    return Problem(status, title.lower().replace(" ", "-"), title, title)


def status_name(status: int) -> str:
    """Return the name of an HTTP status, such as `Not Found`."""
    return RENAMED_STATUSES.get(status, HTTPStatus(status).phrase)


def problem_of(error: Exception) -> Problem | None:
    """Return the problem that an exception leads to, or None for an unexpected exception."""
    if isinstance(error, errors.UnacceptablePassword):
        return replace(PROBLEMS[errors.UnacceptablePassword], detail=str(error))
    if isinstance(error, errors.TooManyAttempts):
        wait = {"Retry-After": str(max(1, math.ceil(error.wait.total_seconds())))}
        return replace(PROBLEMS[errors.TooManyAttempts], headers=wait)
    if isinstance(error, errors.InsufficientScope):
        challenge = f'Bearer error="insufficient_scope", scope="{error.scope}"'
        return replace(PROBLEMS[errors.InsufficientScope], headers={"WWW-Authenticate": challenge})
    return next((PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS), None)


def schema_name(status: int) -> str:
    """Return the name of the schema that describes the errors with this status."""
    return f"Problem{status}"


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of an endpoint for the OpenAPI document; see `problem_schemas.py`."""
    return {
        status: {
            "description": status_name(status),
            "content": {
                MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema_name(status)}"}}
            },
        }
        for status in statuses
    }
