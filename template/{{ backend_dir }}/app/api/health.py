"""Health checks: whether the process is running, and whether it is ready for requests."""

import asyncio

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from app.api.problems import NOT_READY, problem_response, problem_responses
from app.api.schemas import Status
from app.api.state import state_of
from app.db.revisions import is_up_to_date
from app.db.session import DatabaseUnavailable

log = structlog.stdlib.get_logger(__name__)

READY_WITHIN_SECONDS = 1.5
OK = Status().model_dump()


def add_health(app: FastAPI) -> None:
    """Add the endpoints to the application itself, which is faster than through a router."""
    unready = problem_responses(503)
    app.get("/health", tags=["health"], response_model=Status)(health)
    app.get("/health/ready", tags=["health"], response_model=Status, responses=unready)(ready)
    # Some load balancers send HEAD; the server omits the body.
    app.head("/health", include_in_schema=False)(health)
    app.head("/health/ready", include_in_schema=False, response_model=Status)(ready)


async def health() -> Response:
    """Respond with 200 while the process is running. Nothing else is checked."""
    return JSONResponse(OK)


async def ready(request: Request) -> Response | Status:
    """Respond with 200 if the process is ready for requests.

    It is ready if the database responds and has been migrated, and if it is not shutting down.
    """
    state = state_of(request.app)
    if state.draining:
        return problem_response(request, NOT_READY)
    asked = asyncio.create_task(is_up_to_date(state.database.reads, state.revisions))
    await asyncio.wait({asked}, timeout=READY_WITHIN_SECONDS)
    if not asked.done():
        asked.cancel()  # do not wait for it: closing a connection takes time too
        log.warning("unavailable", reason="the database does not respond in time")
        return problem_response(request, NOT_READY)
    try:
        if asked.result():
            return Status()
        log.warning("database_is_behind", hint="run `python -m app migrate`")
    except DatabaseUnavailable as error:
        log.warning("unavailable", reason=str(error))
    return problem_response(request, NOT_READY)
