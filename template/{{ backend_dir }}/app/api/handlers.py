"""Handlers that turn the exceptions of Starlette and FastAPI into problem documents."""

from dataclasses import replace
from typing import Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.api.media_types import has_wrong_media_type
from app.api.problems import (
    INVALID,
    OTHER_PROBLEMS,
    UNSUPPORTED,
    http_problem,
    problem_response,
)
from app.api.validation import safe_errors

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


async def handle_http_exception(request: Request, error: HTTPException) -> JSONResponse:
    """Respond to a 404, a 405, a body that cannot be read, and an endpoint's `HTTPException`."""
    problem = http_problem(error.status_code)
    if problem in OTHER_PROBLEMS:
        return problem_response(request, problem)
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    return problem_response(request, replace(problem, detail=str(error.detail), headers=headers))


async def handle_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    """Respond with 422, or with 415 if the endpoint does not read the body's media type."""
    if has_wrong_media_type(request):
        return problem_response(request, UNSUPPORTED)
    return problem_response(request, INVALID, safe_errors(request.app, error))


def _allowed_methods(request: Request) -> list[str]:
    # RFC 9110 15.5.6 requires all methods of the path; Starlette names those of one route.
    def is_allowed(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in METHODS if is_allowed(method)]
