"""Users: creating them, and who is signed in."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.tokens import AccessClaims
from app.db.driver import Query, driver_connection
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

SIGNED_IN_USER = Query(
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
    """Load the user of an access token, if the token's session is still alive: one round trip.

    Raises `NotSignedIn`.
    """
    # Behind a pooler even one statement needs a transaction around it; see `Database`.
    async with driver_connection(database, transaction=database.pooled) as driver:
        row = await SIGNED_IN_USER.fetch(
            driver, user_id=claims.user_id, session_id=claims.session_id
        )
    if row is None:
        raise NotSignedIn
    return SignedIn(PublicUser(*row), claims.session_id)


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
    return PublicUser(*row)
