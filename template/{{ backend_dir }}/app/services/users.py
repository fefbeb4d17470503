"""Users: creating them, finding them, and who is signed in."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.core.emails import Email
from app.core.password_policy import password_problem
from app.core.security import PasswordHasher
from app.core.tokens import AccessClaims
from app.models import Session, User
from app.services.errors import EmailTaken, NotSignedIn, UnacceptablePassword


@dataclass(frozen=True)
class PublicUser:
    """What may be told of a user."""

    id: uuid.UUID
    email: str
    is_active: bool
    created_at: datetime


PUBLIC_COLUMNS = (User.id, User.email, User.is_active, User.created_at)

# Built once: composing it anew would cost as much as running it.
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


async def get_signed_in_user(reads: AsyncEngine, claims: AccessClaims) -> PublicUser:
    """Load the user of an access token, if the token's session is still alive: one round trip.

    Raises `NotSignedIn`.
    """
    async with reads.connect() as connection:
        rows = await connection.execute(
            SIGNED_IN_USER, {"user_id": claims.user_id, "session_id": claims.session_id}
        )
        row = rows.one_or_none()
    if row is None:
        raise NotSignedIn
    return PublicUser(*row)


async def find_credentials(db: AsyncSession, email: Email) -> Row[uuid.UUID, str] | None:
    """Load `id` and `password_hash` of a user, in a transaction of its own."""
    async with db.begin():
        rows = await db.execute(select(User.id, User.password_hash).where(User.email == email))
        return rows.one_or_none()


async def create_user(
    db: AsyncSession, hasher: PasswordHasher, email: Email, password: str, *, min_length: int
) -> PublicUser:
    """Create an active user.

    min_length: of the password, in characters. Raises `UnacceptablePassword` and `EmailTaken`.
    """
    if problem := password_problem(password, email, min_length):
        raise UnacceptablePassword(problem)
    password_hash = await hasher.hash(password)
    async with db.begin():
        row: Row[uuid.UUID, str, bool, datetime] | None = (
            await db.execute(
                insert(User)
                .values(email=email, password_hash=password_hash)
                .on_conflict_do_nothing(index_elements=[User.email])
                .returning(*PUBLIC_COLUMNS)
            )
        ).one_or_none()
    if row is None:
        raise EmailTaken
    return PublicUser(*row)
