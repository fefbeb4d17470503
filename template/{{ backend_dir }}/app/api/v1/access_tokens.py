"""Endpoints for a user's personal access tokens. They need a session: no token creates another."""

import uuid

from fastapi import APIRouter, Depends, HTTPException, Response

from app.api.deps import CurrentAuth, CurrentSettings, Db, State
from app.api.pagination import PageOut, RequestedPage
from app.api.problems import problem_responses
from app.api.schemas import CreatedTokenOut, PersonalTokenIn, PersonalTokenOut
from app.db.pagination import Page
from app.models import PersonalAccessToken
from app.services import personal_tokens
from app.services.personal_tokens import CreatedToken


async def require_access_tokens(settings: CurrentSettings) -> None:
    """Respond with 404, as for an unknown path, unless `ACCESS_TOKENS_ENABLED` is true."""
    if not settings.access_tokens_enabled:
        raise HTTPException(404)


router = APIRouter(
    prefix="/me/tokens",
    dependencies=[Depends(require_access_tokens)],
    responses=problem_responses(401, 404),
)


@router.post(
    "",
    status_code=201,
    response_model=CreatedTokenOut,
    responses=problem_responses(403, 409, 413, 415, 422),
)
async def create_personal_token(
    body: PersonalTokenIn, auth: CurrentAuth, state: State
) -> CreatedToken:
    """Create a personal access token. Only this response contains the token."""
    return await personal_tokens.create_token(
        state, auth, name=body.name, scopes=body.scopes, days=body.expires_in_days
    )


@router.get("", response_model=PageOut[PersonalTokenOut], responses=problem_responses(422))
async def list_personal_tokens(
    auth: CurrentAuth, db: Db, page: RequestedPage
) -> Page[PersonalAccessToken]:
    """List the active personal access tokens, the newest first."""
    return await personal_tokens.list_tokens(db, page, auth)


@router.delete(
    "/{token_id}",
    status_code=204,
    response_class=Response,
    responses=problem_responses(403, 413, 422),
)
async def revoke_personal_token(token_id: uuid.UUID, auth: CurrentAuth, state: State) -> None:
    """Revoke one personal access token."""
    await personal_tokens.revoke_token(state.database, auth, token_id)


@router.delete(
    "",
    status_code=204,
    response_class=Response,
    responses=problem_responses(403, 413),
)
async def revoke_personal_tokens(auth: CurrentAuth, state: State) -> None:
    """Revoke all personal access tokens."""
    await personal_tokens.revoke_own_tokens(state.database, auth)
