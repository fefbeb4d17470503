"""Health: is the process alive, and should it get traffic."""

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
    """Serve both calls from the application itself, without a router to pass through first."""
    unready = problem_responses(503)
    app.get("/health", tags=["health"], response_model=Status)(health)
    app.get("/health/ready", tags=["health"], response_model=Status, responses=unready)(ready)
    # Load balancers ask with HEAD; the server leaves the body out.
    app.head("/health", include_in_schema=False)(health)
    app.head("/health/ready", include_in_schema=False, response_model=Status)(ready)


async def health() -> Response:
    """The process is alive; nothing else is looked at."""
    return JSONResponse(OK)


async def ready(request: Request) -> Response | Status:
    """The database answers and is not behind this code, and the process is not shutting down."""
    state = state_of(request.app)
    if state.draining:
        return problem_response(request, NOT_READY)
    asked = asyncio.create_task(is_up_to_date(state.database.reads, state.revisions))
    await asyncio.wait({asked}, timeout=READY_WITHIN_SECONDS)
    if not asked.done():
        asked.cancel()  # and not waited for: hanging up takes its time too
        log.warning("unavailable", reason="the database does not answer in time")
        return problem_response(request, NOT_READY)
    try:
        if asked.result():
            return Status()
        log.warning("database_is_behind", hint="run `python -m app migrate`")
    except DatabaseUnavailable as error:
        log.warning("unavailable", reason=str(error))
    return problem_response(request, NOT_READY)
