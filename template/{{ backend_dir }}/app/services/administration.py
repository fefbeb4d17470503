"""Administration of users and their sessions, for the commands."""

import uuid

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.settings import Settings
from app.jobs.queue import enqueue
from app.models import EmailToken, User, UserSession
from app.services.email_links import SendLink, require_mail
from app.services.email_tokens import invalidate_email_tokens
from app.services.errors import EmailTaken, UserNotFound
from app.services.sessions.lock import lock_users
from app.services.sessions.revocation import revoke_all_access

log = structlog.stdlib.get_logger(__name__)

BATCH = 1000


async def invite(db: AsyncSession, settings: Settings, email: Email) -> None:
    """Send a link to a new user, who chooses the password, in the caller's transaction.

    Raise `EmailTaken` and `MailNotConfigured`.
    """
    require_mail(settings)
    if await db.scalar(select(User.id).where(User.email == email)):
        raise EmailTaken
    await enqueue(db, SendLink(email=email, invited=True))
    log.info("user_invited")


async def replace_password(db: AsyncSession, email: Email, new_hash: str) -> None:
    """Replace a user's password, and revoke their sessions. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await db.execute(update(User).where(User.id == user_id).values(password_hash=new_hash))
        await revoke_all_access(db, [user_id])
    log.info("password_set", user_id=str(user_id))


async def deactivate_user(db: AsyncSession, email: Email) -> None:
    """Deactivate a user, and revoke their sessions. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await db.execute(update(User).where(User.id == user_id).values(is_active=False))
        await revoke_all_access(db, [user_id])
    log.info("user_deactivated", user_id=str(user_id))


async def revoke_sessions_of(db: AsyncSession, email: Email) -> None:
    """Revoke a user's sessions. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await revoke_all_access(db, [user_id])
    log.info("sessions_ended", user_id=str(user_id))


async def revoke_all_sessions(db: AsyncSession) -> int:
    """Revoke all sessions, for a batch of users at a time. Return how many users had sessions."""
    # Go through the users by ID, not by time, because times are unreliable if a clock is set back.
    last = uuid.UUID(int=0)
    count = 0
    while True:
        async with db.begin():
            users = select(UserSession.user_id).where(
                UserSession.revoked_at.is_(None), UserSession.user_id > last
            )
            batch = list(
                await db.scalars(users.distinct().order_by(UserSession.user_id).limit(BATCH))
            )
            if not batch:
                break
            await lock_users(db, batch)
            await revoke_all_access(db, batch)
            last = batch[-1]
            count += len(batch)
    async with db.begin():
        # Also the links about users who have no session.
        await invalidate_email_tokens(db, EmailToken.user_id.is_not(None))
    log.info("every_session_ended", users=count)
    return count


async def _lock(db: AsyncSession, email: Email) -> uuid.UUID:
    user_id = await db.scalar(select(User.id).where(User.email == email))
    if user_id is None:
        raise UserNotFound
    await lock_users(db, [user_id])
    return user_id
