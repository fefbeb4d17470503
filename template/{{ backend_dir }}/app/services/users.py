"""Users: creating them, and authenticating a request."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.tokens import AccessClaims
from app.db.session import Database
from app.models import User, UserSession
from app.services.errors import EmailTaken, NotAuthenticated


@dataclass(frozen=True)
class PublicUser:
    """A user as responses show it."""

    id: uuid.UUID
    email: str
    is_active: bool
    created_at: datetime


@dataclass(frozen=True)
class AuthContext:
    """The authenticated user of a request, and the session."""

    user: PublicUser
    session_id: uuid.UUID


PUBLIC_COLUMNS = (User.id, User.email, User.is_active, User.created_at)

AUTHENTICATED_USER = (
    select(*PUBLIC_COLUMNS)
    .join(UserSession, UserSession.user_id == User.id)
    .where(
        User.id == bindparam("user_id"),
        User.is_active,
        UserSession.id == bindparam("session_id"),
        UserSession.revoked_at.is_(None),
        UserSession.expires_at > func.clock_timestamp(),
    )
)


async def authenticate(database: Database, claims: AccessClaims) -> AuthContext:
    """Return the user of an access token whose session is active, in one round trip.

    Raise `NotAuthenticated`.
    """
    values = {"user_id": claims.user_id, "session_id": claims.session_id}
    async with database.reads.connect() as connection:
        user = (await connection.execute(AUTHENTICATED_USER, values)).one_or_none()
    if user is None:
        raise NotAuthenticated
    return AuthContext(public_user(user), claims.session_id)


def public_user(user: User | Row[uuid.UUID, str, bool, datetime]) -> PublicUser:
    """Return a user, from an entity or from a row of `PUBLIC_COLUMNS`, as responses show it."""
    return PublicUser(
        id=user.id, email=user.email, is_active=user.is_active, created_at=user.created_at
    )


async def create_user(db: AsyncSession, email: Email, password_hash: str) -> PublicUser:
    """Create an active user, in the caller's transaction. Raise `EmailTaken`."""
    rows = await db.execute(
        insert(User)
        .values(email=email, password_hash=password_hash)
        .on_conflict_do_nothing(index_elements=[User.email])
        .returning(*PUBLIC_COLUMNS)
    )
    row = rows.one_or_none()
    if row is None:
        raise EmailTaken
    return public_user(row)
