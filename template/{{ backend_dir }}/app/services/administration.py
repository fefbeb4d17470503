"""Administration of users and their sessions. Each change is recorded as an audit event."""

import uuid

import structlog
from sqlalchemy import select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.roles import Role
from app.core.settings import Settings
from app.jobs.queue import enqueue
from app.models import EmailToken, User, UserSession
from app.services.audit import COMMAND, Actor, AuditAction, record
from app.services.email_links import SendLink, require_mail
from app.services.email_tokens import invalidate_email_tokens
from app.services.errors import EmailTaken, UserNotFound
from app.services.personal_tokens import delete_tokens
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
    record(db, COMMAND, AuditAction.USER_INVITED)
    log.info("user_invited")


async def replace_password(db: AsyncSession, email: Email, new_hash: str) -> None:
    """Replace a user's password, and revoke their sessions. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await db.execute(update(User).where(User.id == user_id).values(password_hash=new_hash))
        await revoke_all_access(db, [user_id])
        record(db, COMMAND, AuditAction.PASSWORD_SET, user_id)
    log.info("password_set", user_id=str(user_id))


async def deactivate_user(db: AsyncSession, email: Email) -> None:
    """Deactivate a user, and revoke their sessions. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await set_active(db, COMMAND, user_id, is_active=False)


async def grant_role(db: AsyncSession, email: Email, role: Role) -> None:
    """Replace the role of a user. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await set_role(db, COMMAND, user_id, role)


async def revoke_sessions_of(db: AsyncSession, email: Email) -> None:
    """Revoke a user's sessions. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await end_sessions(db, COMMAND, user_id)


async def set_active(
    db: AsyncSession, actor: Actor, user_id: uuid.UUID, *, is_active: bool
) -> None:
    """Activate a user, or deactivate a user and revoke their sessions. The row is locked."""
    changed = await db.scalar(
        update(User)
        .where(User.id == user_id, User.is_active.is_distinct_from(is_active))
        .values(is_active=is_active)
        .returning(User.id)
    )
    if changed is None:
        return
    if not is_active:
        await revoke_all_access(db, [user_id])
    action = AuditAction.USER_ACTIVATED if is_active else AuditAction.USER_DEACTIVATED
    record(db, actor, action, user_id)
    log.info(str(action), user_id=str(user_id))


async def set_role(db: AsyncSession, actor: Actor, user_id: uuid.UUID, role: Role) -> None:
    """Replace the role of a user. The row is locked."""
    old = await db.scalar(select(User.role).where(User.id == user_id))
    if old is None or old == role:
        return
    await db.execute(update(User).where(User.id == user_id).values(role=role))
    record(db, actor, AuditAction.ROLE_CHANGED, user_id, old=old, new=role)
    log.info("role_changed", user_id=str(user_id), old=old, new=str(role))


async def end_sessions(db: AsyncSession, actor: Actor, user_id: uuid.UUID) -> None:
    """Revoke the sessions of a user. The row is locked."""
    await revoke_all_access(db, [user_id])
    record(db, actor, AuditAction.SESSIONS_REVOKED, user_id)
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
        # Also the links about users who have no session, and their tokens.
        await invalidate_email_tokens(db, EmailToken.user_id.is_not(None))
        await delete_tokens(db, true())
        record(db, COMMAND, AuditAction.ALL_SESSIONS_REVOKED)
    log.info("every_session_ended", users=count)
    return count


async def _lock(db: AsyncSession, email: Email) -> uuid.UUID:
    user_id = await db.scalar(select(User.id).where(User.email == email))
    if user_id is None:
        raise UserNotFound
    await lock_users(db, [user_id])
    return user_id
