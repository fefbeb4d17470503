"""What an operator does to users and their sessions, from the command line."""

import uuid

import structlog
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.models import AttemptCount, Session, User
from app.services.errors import UserNotFound
from app.services.passwords import set_password
from app.services.sessions.ending import end_sessions
from app.services.sessions.lock import lock_users

log = structlog.stdlib.get_logger(__name__)

BATCH = 1000


async def set_password_of(db: AsyncSession, email: Email, new_hash: str) -> None:
    """Replace a user's password; ends their sessions. Raises `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await set_password(db, user_id, new_hash)
    log.info("password_set", user_id=str(user_id))


async def deactivate_user(db: AsyncSession, email: Email) -> None:
    """Bar a user from signing in; ends their sessions. Raises `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await db.execute(update(User).where(User.id == user_id).values(is_active=False))
        await end_sessions(db, Session.user_id == user_id)
    log.info("user_deactivated", user_id=str(user_id))


async def end_sessions_of(db: AsyncSession, email: Email) -> None:
    """End a user's sessions. Raises `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await end_sessions(db, Session.user_id == user_id)
    log.info("sessions_ended", user_id=str(user_id))


async def end_every_session(db: AsyncSession) -> int:
    """End all sessions that there are, a batch of users at a time. Gives how many users had any."""
    async with db.begin():
        start = await db.scalar(select(func.clock_timestamp()))
    alive = (Session.created_at <= start) & Session.revoked_at.is_(None)
    count = 0
    while True:
        async with db.begin():
            users = select(Session.user_id).where(alive).distinct().limit(BATCH)
            batch = list(await db.scalars(users))
            if not batch:
                break
            await lock_users(db, batch)
            await end_sessions(db, alive & Session.user_id.in_(batch))
            count += len(batch)
    log.info("every_session_ended", users=count)
    return count


async def purge(db: AsyncSession) -> tuple[int, int]:
    """Delete sessions past their end, with their tokens, and throttle rows of windows gone by.

    A rotated token stays as long as its session can live: that it comes back must be noticed.
    In batches, so that nothing else waits. Gives how many sessions and rows went.
    """
    over = Session.expires_at <= func.clock_timestamp()
    gone_by = AttemptCount.window_ends_at <= func.clock_timestamp()
    sessions = rows = 0
    while batch := await _delete(db, Session, over):
        sessions += batch
    while batch := await _delete(db, AttemptCount, gone_by):
        rows += batch
    return sessions, rows


async def _delete(
    db: AsyncSession, table: type[Session | AttemptCount], which: ColumnElement[bool]
) -> int:
    (key,) = table.__table__.primary_key
    batch = select(key).where(which).limit(BATCH).with_for_update(skip_locked=True)
    async with db.begin():
        deleted = await db.execute(
            delete(table).where(key.in_(batch)).returning(key),
            execution_options={"synchronize_session": False},
        )
        return len(deleted.all())


async def _lock(db: AsyncSession, email: Email) -> uuid.UUID:
    user_id = await db.scalar(select(User.id).where(User.email == email))
    if user_id is None:
        raise UserNotFound
    await lock_users(db, [user_id])
    return user_id
