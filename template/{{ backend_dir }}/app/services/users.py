"""Users: creating them, and their fields in responses."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVarTuple

from sqlalchemy import Row
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.models import User
from app.services.errors import EmailTaken

# The columns of a row after `PUBLIC_COLUMNS`.
Others = TypeVarTuple("Others")


@dataclass(frozen=True)
class PublicUser:
    """A user as responses show it."""

    id: uuid.UUID
    email: str
    email_verified: bool
    is_active: bool
    role: str
    created_at: datetime


PUBLIC_COLUMNS = (
    User.id,
    User.email,
    User.email_verified_at,
    User.is_active,
    User.role,
    User.created_at,
)


def public_user(
    user: User | Row[uuid.UUID, str, datetime | None, bool, str, datetime, *Others],
) -> PublicUser:
    """Return a user as responses show it.

    user: an entity, or a row that begins with `PUBLIC_COLUMNS`.
    """
    return PublicUser(
        id=user.id,
        email=user.email,
        email_verified=user.email_verified_at is not None,
        is_active=user.is_active,
        role=user.role,
        created_at=user.created_at,
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
