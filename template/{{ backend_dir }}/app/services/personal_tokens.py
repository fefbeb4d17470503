"""Personal access tokens: creating, listing and revoking them, and authentication by them."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.personal_tokens import Scope, generate_personal_token
from app.core.tokens import RawToken, hash_token
from app.db.pagination import Page, PageRequest, fetch_page
from app.db.session import Database, DatabaseUnavailable
from app.models import PersonalAccessToken, User
from app.services.errors import (
    InsufficientScope,
    InvalidPersonalToken,
    PersonalTokenNotFound,
    TooManyPersonalTokens,
)
from app.services.notices import notify
from app.services.resources import Resources
from app.services.sessions.authentication import AuthContext, authenticate_again
from app.services.sessions.lock import lock_users
from app.services.users import PUBLIC_COLUMNS, PublicUser, public_user

log = structlog.stdlib.get_logger(__name__)

MAX_TOKENS: Final = 50
# A use is noted once in this time, because a write needs further round trips.
USE_IS_NOTED_AFTER: Final = timedelta(hours=1)

USE_IS_OLD: Final = or_(
    PersonalAccessToken.last_used_at.is_(None),
    PersonalAccessToken.last_used_at < func.clock_timestamp() - USE_IS_NOTED_AFTER,
)
TOKEN_USER: Final = (
    select(
        *PUBLIC_COLUMNS,
        PersonalAccessToken.id.label("token_id"),
        PersonalAccessToken.scopes,
        USE_IS_OLD.label("use_is_old"),
    )
    .join(PersonalAccessToken, PersonalAccessToken.user_id == User.id)
    .where(
        PersonalAccessToken.token_hash == bindparam("token_hash"),
        PersonalAccessToken.active(),
        User.is_active,
    )
)


@dataclass(frozen=True)
class CreatedToken:
    """A new token. This is the only time at which the server knows it."""

    id: uuid.UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    token: RawToken = field(repr=False)
    last_used_at: datetime | None = None


async def authenticate_token(
    database: Database, token: RawToken | None, scope: Scope
) -> PublicUser:
    """Return the user of a personal access token, in one round trip, and note the use.

    token: None if the request has no well-formed one. scope: what the request needs.

    Raise `InvalidPersonalToken` and `InsufficientScope`.
    """
    if token is None:
        raise InvalidPersonalToken
    found = await database.select_one(TOKEN_USER, {"token_hash": hash_token(token)})
    if found is None:
        raise InvalidPersonalToken
    structlog.contextvars.bind_contextvars(token_id=str(found.token_id))  # for all log lines
    if scope not in found.scopes:
        raise InsufficientScope(scope)
    if found.use_is_old:
        await _note_use(database, found.token_id)
    return public_user(found)


async def create_token(
    resources: Resources, auth: AuthContext, *, name: str, scopes: Collection[Scope], days: int
) -> CreatedToken:
    """Create a token that expires after some days, and tell the user by mail.

    Raise `TooManyPersonalTokens`, and `NotAuthenticated` if the session ends meanwhile.
    """
    token = generate_personal_token()
    async with resources.database.transaction() as db:
        await lock_users(db, [auth.user.id])
        # A password change may have revoked all access while this waited for the lock.
        await authenticate_again(db, auth.user.id, auth.session_id)
        own = PersonalAccessToken.user_id == auth.user.id
        count = select(func.count()).where(own, PersonalAccessToken.active())
        if (await db.execute(count)).scalar_one() >= MAX_TOKENS:
            raise TooManyPersonalTokens
        now = (await db.execute(select(func.clock_timestamp()))).scalar_one()
        row = PersonalAccessToken(
            id=uuid.uuid4(),
            user_id=auth.user.id,
            name=name,
            scopes=sorted(scopes),
            token_hash=hash_token(token),
            created_at=now,
            expires_at=now + timedelta(days=days),
        )
        db.add(row)
        await notify(db, resources.settings, auth.user.email, "token_created")
    log.info(
        "personal_token_created",
        user_id=str(auth.user.id),
        session_id=str(auth.session_id),
        token_id=str(row.id),
        scopes=row.scopes,
    )
    return CreatedToken(row.id, row.name, row.scopes, row.created_at, row.expires_at, token)


async def list_tokens(
    db: AsyncSession, page: PageRequest, auth: AuthContext
) -> Page[PersonalAccessToken]:
    """Return a page of a user's active tokens, the newest first. Raise `InvalidCursor`."""
    own = PersonalAccessToken.user_id == auth.user.id
    statement = select(PersonalAccessToken).where(own, PersonalAccessToken.active())
    key = (PersonalAccessToken.created_at, PersonalAccessToken.id)
    return await fetch_page(db, statement, page, *key, descending=True)


async def revoke_token(database: Database, auth: AuthContext, token_id: uuid.UUID) -> None:
    """Revoke a token. Raise `PersonalTokenNotFound`, also for another user's token."""
    if not await _revoke_own(database, auth, PersonalAccessToken.id == token_id):
        raise PersonalTokenNotFound


async def revoke_own_tokens(database: Database, auth: AuthContext) -> None:
    """Revoke all tokens of a user."""
    await _revoke_own(database, auth, PersonalAccessToken.user_id == auth.user.id)


async def delete_tokens(db: AsyncSession, which: ColumnElement[bool]) -> list[uuid.UUID]:
    """Revoke the tokens that match, and return their IDs. Call it with their users' rows locked."""
    deleted = await db.scalars(
        delete(PersonalAccessToken).where(which).returning(PersonalAccessToken.id),
        execution_options={"synchronize_session": False},
    )
    return list(deleted)


async def _revoke_own(
    database: Database, auth: AuthContext, which: ColumnElement[bool]
) -> list[uuid.UUID]:
    own = PersonalAccessToken.user_id == auth.user.id
    async with database.transaction() as db:
        await lock_users(db, [auth.user.id])
        revoked = await delete_tokens(db, own & which)
    for token_id in revoked:
        log.info("personal_token_revoked", user_id=str(auth.user.id), token_id=str(token_id))
    return revoked


async def _note_use(database: Database, token_id: uuid.UUID) -> None:
    statement = (
        update(PersonalAccessToken)
        .where(PersonalAccessToken.id == token_id, USE_IS_OLD)
        .values(last_used_at=func.clock_timestamp())
    )

    def note(connection: Connection) -> None:
        connection.execute(statement)

    if database.lock_slots.locked():
        return  # the next request notes it; this one does not wait for others
    try:
        await database.run_in_transaction(note)
    except DatabaseUnavailable as error:
        log.warning("token_use_not_noted", token_id=str(token_id), reason=str(error))
