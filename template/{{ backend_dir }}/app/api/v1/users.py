"""Endpoints for sign-up, and for a user's own account, password and sessions."""

import uuid

from fastapi import APIRouter, Request, Response

from app.api.deps import ClientAddress, CurrentAuth, CurrentUser, State, UserAgent
from app.api.problems import problem_responses
from app.api.schemas import (
    EmailChange,
    PasswordChange,
    PasswordConfirmation,
    SessionOut,
    UserIn,
    UserOut,
)
from app.api.v1 import access_tokens
from app.core.emails import Email
from app.services import account, sign_up
from app.services.passwords import change
from app.services.sessions import listing, revocation
from app.services.users import PublicUser

router = APIRouter(prefix="/users", tags=["users"], responses=problem_responses(503))


@router.post(
    "",
    status_code=201,
    response_model=UserOut,
    responses=problem_responses(403, 409, 413, 415, 422, 429),
)
async def create_user(user: UserIn, state: State, address: ClientAddress) -> PublicUser:
    """Create an account, if `SIGNUP_MODE` is `open`. It does not sign the user in."""
    return await sign_up.sign_up(
        state, email=Email(user.email), password=user.password, address=address
    )


@router.get("/me", response_model=UserOut, responses=problem_responses(401, 403))
async def read_me(user: CurrentUser) -> PublicUser:
    """Return the authenticated user."""
    return user


@router.put(
    "/me/password",
    status_code=204,
    responses=problem_responses(401, 403, 413, 415, 422, 429),
)
async def change_password(
    body: PasswordChange,
    request: Request,
    auth: CurrentAuth,
    state: State,
    user_agent: UserAgent = None,
) -> Response:
    """Change the password, revoke every session, and create a new one for this client."""
    tokens = await change.change_password(
        state,
        auth,
        current=body.current_password,
        new=body.new_password,
        user_agent=user_agent,
        device=state.cookies.device(request),
    )
    response = Response(status_code=204)
    state.cookies.set(response, tokens)
    return response


@router.post(
    "/me/email",
    status_code=202,
    response_class=Response,
    responses=problem_responses(401, 403, 413, 415, 422, 429),
)
async def request_email_change(
    body: EmailChange, request: Request, auth: CurrentAuth, state: State, address: ClientAddress
) -> None:
    """Send a link to the new address. The response does not tell whether it is taken."""
    await account.request_email_change(
        state,
        auth,
        new_email=Email(body.new_email),
        current=body.current_password,
        address=address,
        device=state.cookies.device(request),
    )


@router.post(
    "/me/verification",
    status_code=202,
    response_class=Response,
    responses=problem_responses(401, 403, 413, 429),
)
async def request_verification(auth: CurrentAuth, state: State, address: ClientAddress) -> None:
    """Send a link to the user's own address."""
    await account.request_verification(state, auth, address)


@router.delete(
    "/me",
    status_code=204,
    responses=problem_responses(401, 403, 413, 415, 422, 429),
)
async def delete_account(
    body: PasswordConfirmation, request: Request, auth: CurrentAuth, state: State
) -> Response:
    """Delete the account and everything that belongs to it."""
    await account.delete_account(
        state, auth, current=body.current_password, device=state.cookies.device(request)
    )
    response = Response(status_code=204)
    state.cookies.clear(response)
    return response


@router.get("/me/sessions", response_model=list[SessionOut], responses=problem_responses(401))
async def list_sessions(auth: CurrentAuth, state: State) -> list[listing.ListedSession]:
    """List the active sessions, the last used first."""
    return await listing.list_sessions(state.database, auth)


@router.delete(
    "/me/sessions/{session_id}",
    status_code=204,
    response_class=Response,
    responses=problem_responses(401, 403, 404, 413, 422),
)
async def end_session(session_id: uuid.UUID, auth: CurrentAuth, state: State) -> None:
    """Revoke one session."""
    await revocation.revoke_session(state.database, auth, session_id)


@router.delete(
    "/me/sessions",
    status_code=204,
    response_class=Response,
    responses=problem_responses(401, 403, 413),
)
async def end_other_sessions(auth: CurrentAuth, state: State) -> None:
    """Revoke every session except the current one."""
    await revocation.revoke_other_sessions(state.database, auth)


# After the endpoints above, because FastAPI tries the routes in order.
router.include_router(access_tokens.router)
