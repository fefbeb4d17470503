"""Health: is the process alive, and should it get traffic."""

import asyncio

import structlog
from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from app.api.problems import NOT_READY, problem_response, problem_responses, reason_of
from app.api.schemas import Status
from app.db.revisions import is_up_to_date
from app.db.session import DatabaseUnavailable

router = APIRouter(tags=["health"])
log = structlog.stdlib.get_logger(__name__)

READY_WITHIN_SECONDS = 1.5


# Load balancers ask with HEAD; the server leaves the body out.
@router.head("/health", include_in_schema=False)
@router.get("/health")
async def health() -> Status:
    """The process is alive; nothing else is looked at."""
    return Status()


@router.head("/health/ready", response_model=Status, include_in_schema=False)
@router.get("/health/ready", response_model=Status, responses=problem_responses(503))
async def ready(request: Request) -> Response | Status:
    """The database answers and is not behind this code, and the process is not shutting down."""
    state = request.app.state
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
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        log.warning("unavailable", reason=reason_of(error))
    return problem_response(request, NOT_READY)
