"""Verifying a password against a hash that other requests may replace at the same time."""

import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.security import Requester
from app.models import User, UserSession
from app.services.errors import NotAuthenticated, WrongPassword
from app.services.resources import Resources
from app.services.sessions.lock import lock_users

# The hash may change between its verification and the lock: once by a concurrent sign-in that
# upgrades it, and once more by a password change in between.
MAX_CHECKS: Final = 3

LOCKED_USER: Final = select(User, func.clock_timestamp().label("now")).where(
    User.id == bindparam("user_id")
)
ACTIVE_SESSION: Final = select(UserSession.id).where(
    UserSession.id == bindparam("session_id"), UserSession.active()
)


@dataclass(frozen=True)
class StoredUser:
    """A user and the stored password hash, read without a lock."""

    id: uuid.UUID
    password_hash: str = field(repr=False)


@dataclass(frozen=True)
class VerifiedUser:
    """A user whose password was correct, in the transaction that holds the lock on the user's row.

    user, now: the row and the database's clock, both read after the lock.
    """

    db: AsyncSession
    user: User
    now: datetime


@asynccontextmanager
async def verified_user(
    resources: Resources,
    stored: StoredUser | None,
    password: str,
    requester: Requester,
    *,
    also_lock: Iterable[uuid.UUID] = (),
    session_id: uuid.UUID | None = None,
    new_password: str | None = None,
) -> AsyncIterator[VerifiedUser]:
    """Verify a password, lock the user's row, and yield the user in a transaction.

    stored: None for a user who does not exist, which takes as long as a wrong password.
    also_lock: IDs of other users whose rows the transaction needs.
    session_id: the user's session that must still be active.
    new_password: replaces the password if that is correct. Without a new password, the transaction
        upgrades a stored hash of an older kind.

    The server hashes while it holds no connection, because a hash takes longer than everything
    else. If another request has replaced the stored hash by the time of the lock, the password is
    verified again. Raise `WrongPassword`, `HashingUnavailable`, and `NotAuthenticated` if the user
    or the session is no longer active.
    """
    current = stored.password_hash if stored else None
    new_hash = None
    for _ in range(MAX_CHECKS):
        correct, upgraded = await resources.hasher.verify(password, current, requester)
        if stored is None or not correct:
            break
        if new_password is not None and new_hash is None:
            new_hash = await resources.hasher.hash(new_password, requester)
        async with resources.database.transaction() as db:
            await lock_users(db, [stored.id, *also_lock])
            row = (await db.execute(LOCKED_USER, {"user_id": stored.id})).one_or_none()
            if row is None or not row.User.is_active:
                raise NotAuthenticated
            if session_id and not await db.scalar(ACTIVE_SESSION, {"session_id": session_id}):
                raise NotAuthenticated
            if row.User.password_hash == current:
                row.User.password_hash = new_hash or upgraded or current
                yield VerifiedUser(db, row.User, row.now)
                return
            current = row.User.password_hash
    raise WrongPassword
