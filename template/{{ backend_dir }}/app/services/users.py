"""Users: creating them, and who is signed in."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.tokens import AccessClaims
from app.db.session import Database
from app.models import Session, User
from app.services.errors import EmailTaken, NotSignedIn


@dataclass(frozen=True)
class PublicUser:
    """What may be told of a user."""

    id: uuid.UUID
    email: str
    is_active: bool
    created_at: datetime


@dataclass(frozen=True)
class SignedIn:
    """Who calls, and by which session."""

    user: PublicUser
    session_id: uuid.UUID


PUBLIC_COLUMNS = (User.id, User.email, User.is_active, User.created_at)

SIGNED_IN_USER = (
    select(*PUBLIC_COLUMNS)
    .join(Session, Session.user_id == User.id)
    .where(
        User.id == bindparam("user_id"),
        User.is_active,
        Session.id == bindparam("session_id"),
        Session.revoked_at.is_(None),
        Session.expires_at > func.clock_timestamp(),
    )
)


async def get_signed_in(database: Database, claims: AccessClaims) -> SignedIn:
    """Load the user of an access token if the token's session is active, in one round trip.

    Raise `NotSignedIn`.
    """
    values = {"user_id": claims.user_id, "session_id": claims.session_id}
    async with database.reads.connect() as connection:
        user = (await connection.execute(SIGNED_IN_USER, values)).one_or_none()
    if user is None:
        raise NotSignedIn
    return SignedIn(public_user(user), claims.session_id)


def public_user(user: User | Row[uuid.UUID, str, bool, datetime]) -> PublicUser:
    """Return what may be told of a user, who is an entity or a row of `PUBLIC_COLUMNS`."""
    return PublicUser(
        id=user.id, email=user.email, is_active=user.is_active, created_at=user.created_at
    )


async def create_user(db: AsyncSession, email: Email, password_hash: str) -> PublicUser:
    """Create an active user, in the caller's transaction. Raises `EmailTaken`."""
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
