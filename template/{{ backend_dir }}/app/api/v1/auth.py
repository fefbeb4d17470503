"""Endpoints for login, refresh and logout."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from app.api.deps import ClientAddress, State, UserAgent
from app.api.media_types import require_media_type
from app.api.problems import problem_responses
from app.api.schemas import EmailIn, EmailTokenIn, LoginForm, PasswordIn, UserOut
from app.api.state import AppState
from app.core.emails import Email
from app.core.tokens import parse_token
from app.services.account import set_email_by_link
from app.services.email_links import request_link
from app.services.passwords.reset import PasswordByLink, set_password_by_link
from app.services.sessions.login import Credentials, Login, sign_in
from app.services.sessions.revocation import sign_out
from app.services.sessions.rotation import refresh as refresh_session
from app.services.users import PublicUser

router = APIRouter(prefix="/auth", tags=["auth"], responses=problem_responses(403, 413, 503))


@router.post(
    "/login",
    response_model=UserOut,
    responses=problem_responses(401, 415, 422, 429),
    dependencies=[Depends(require_media_type)],
)
async def login(
    form: Annotated[LoginForm, Form()],
    request: Request,
    response: Response,
    state: State,
    address: ClientAddress,
    user_agent: UserAgent = None,
) -> PublicUser:
    """Sign in with email and password; set the cookies of the session and of the device."""
    credentials = Credentials(
        username=form.username,
        password=form.password,
        address=address,
        user_agent=user_agent,
        presented=state.cookies.presented_tokens(request),
        device=state.cookies.device(request),
    )
    login = await sign_in(state, credentials)
    return _set_cookies(response, state, login)


@router.post("/refresh", status_code=204, responses=problem_responses(401))
async def refresh(request: Request, state: State, address: ClientAddress) -> Response:
    """Rotate the refresh token, and set the access and the refresh cookie.

    A client that repeats the request within a few seconds receives the same refresh token.
    """
    token = state.cookies.refresh_token(request)
    tokens = await refresh_session(state.database, state.settings, token, address)
    response = Response(status_code=204)
    state.cookies.set(response, tokens)
    return response


@router.post(
    "/email-link",
    status_code=202,
    response_class=Response,
    responses=problem_responses(415, 422, 429),
)
async def send_email_link(body: EmailIn, state: State, address: ClientAddress) -> None:
    """Send a link by mail, to choose a new password or to create an account.

    The response is the same for all addresses.
    """
    await request_link(state, Email(body.email), address)


@router.post("/password", response_model=UserOut, responses=problem_responses(415, 422))
async def set_password(
    body: PasswordIn,
    request: Request,
    response: Response,
    state: State,
    address: ClientAddress,
    user_agent: UserAgent = None,
) -> PublicUser:
    """Set the password with the token of a link, and sign the user in."""
    by_link = PasswordByLink(
        token=parse_token(body.token),
        new_password=body.new_password,
        address=address,
        user_agent=user_agent,
        presented=state.cookies.presented_tokens(request),
        device=state.cookies.device(request),
    )
    login = await set_password_by_link(state, by_link)
    return _set_cookies(response, state, login)


@router.post("/email", response_model=UserOut, responses=problem_responses(415, 422))
async def set_email(body: EmailTokenIn, request: Request, state: State) -> PublicUser:
    """Set and verify the email address with the token of a link."""
    presented = state.cookies.presented_tokens(request)
    return await set_email_by_link(state, parse_token(body.token), presented)


@router.post("/logout", status_code=204)
async def logout(request: Request, state: State) -> Response:
    """Revoke the session, if there is one, and clear the access and the refresh cookie."""
    await sign_out(state.database, state.cookies.presented_tokens(request))
    response = Response(status_code=204)
    state.cookies.clear(response)
    return response


def _set_cookies(response: Response, state: AppState, login: Login) -> PublicUser:
    """Set the cookies of the session and of the device, and return the user."""
    state.cookies.set(response, login.tokens)
    state.cookies.set_device(response, login.device)
    return login.user
