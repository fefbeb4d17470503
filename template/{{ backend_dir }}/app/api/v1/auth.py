"""Sign in, stay signed in, sign out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from app.api.deps import (
    LOCKS_USER,
    ClientAddress,
    Cookies,
    CurrentDatabase,
    CurrentSettings,
    Db,
    Gate,
    UserAgent,
)
from app.api.problems import PROBLEMS, problem_response, problem_responses
from app.api.schemas import LoginForm, UserOut
from app.api.validation import require_media_type
from app.services.errors import ReusedRefreshToken, UnknownRefreshToken
from app.services.sessions.ending import log_out
from app.services.sessions.login import Credentials, log_in
from app.services.sessions.rotation import refresh as refresh_session
from app.services.users import PublicUser

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post(
    "/login",
    response_model=UserOut,
    responses=problem_responses(401, 403, 413, 415, 422, 429, 503),
    dependencies=[Depends(require_media_type)],
)
async def login(
    form: Annotated[LoginForm, Form()],
    request: Request,
    response: Response,
    gate: Gate,
    cookies: Cookies,
    address: ClientAddress,
    user_agent: UserAgent = None,
) -> PublicUser:
    """Sign in with email and password; set the cookies of the session and of the device."""
    credentials = Credentials(
        username=form.username,
        password=form.password,
        address=address,
        user_agent=user_agent,
        presented=cookies.presented(request),
        device=cookies.device(request),
    )
    login = await log_in(gate, credentials)
    cookies.set(response, login.grant)
    cookies.set_device(response, login.device)
    return login.user


@router.post(
    "/refresh",
    status_code=204,
    responses=problem_responses(401, 403, 413, 503),
    dependencies=[LOCKS_USER],
)
async def refresh(
    request: Request,
    database: CurrentDatabase,
    settings: CurrentSettings,
    cookies: Cookies,
    address: ClientAddress,
) -> Response:
    """Exchange the refresh cookie; sets both cookies. Repeating it within seconds does no harm."""
    try:
        grant = await refresh_session(database, settings, cookies.refresh_token(request), address)
    except (UnknownRefreshToken, ReusedRefreshToken) as error:
        # An answer of its own: cookies on the injected one are dropped with an exception.
        refusal = problem_response(request, PROBLEMS[type(error)])
        cookies.clear(refusal)
        return refusal
    response = Response(status_code=204)
    cookies.set(response, grant)
    return response


@router.post(
    "/logout",
    status_code=204,
    responses=problem_responses(403, 413, 503),
    dependencies=[LOCKS_USER],
)
async def logout(request: Request, db: Db, cookies: Cookies) -> Response:
    """End the session and clear both cookies, with or without a session."""
    await log_out(db, cookies.presented(request))
    response = Response(status_code=204)
    cookies.clear(response)
    return response
