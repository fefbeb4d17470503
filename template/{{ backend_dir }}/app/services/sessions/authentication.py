"""Authentication: finding the user of a request."""

import uuid
from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.tokens import AccessClaims
from app.db.session import Database
from app.models import User, UserSession
from app.services.errors import NotAuthenticated
from app.services.users import PUBLIC_COLUMNS, PublicUser, public_user


@dataclass(frozen=True)
class AuthContext:
    """The authenticated user of a request, and the session."""

    user: PublicUser
    session_id: uuid.UUID


AUTHENTICATED_USER = (
    select(*PUBLIC_COLUMNS)
    .join(UserSession, UserSession.user_id == User.id)
    .where(
        User.id == bindparam("user_id"),
        User.is_active,
        UserSession.id == bindparam("session_id"),
        UserSession.active(),
    )
)


async def authenticate(database: Database, claims: AccessClaims) -> AuthContext:
    """Return the user of an access token whose session is active, in one round trip.

    Raise `NotAuthenticated`.
    """
    values = {"user_id": claims.user_id, "session_id": claims.session_id}
    user = await database.select_one(AUTHENTICATED_USER, values)
    if user is None:
        raise NotAuthenticated
    return AuthContext(public_user(user), claims.session_id)


async def authenticate_again(
    db: AsyncSession, user_id: uuid.UUID, session_id: uuid.UUID
) -> PublicUser:
    """Return the user if the session is still active, once the user's row is locked.

    Raise `NotAuthenticated`.
    """
    values = {"user_id": user_id, "session_id": session_id}
    user = (await db.execute(AUTHENTICATED_USER, values)).one_or_none()
    if user is None:
        raise NotAuthenticated
    return public_user(user)
