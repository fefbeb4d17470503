"""Administration of users and their sessions. Each change is recorded as an audit event."""

import uuid
from functools import partial

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.roles import Role
from app.core.settings import Settings
from app.jobs.queue import enqueue
from app.models import User
from app.services import users
from app.services.audit import COMMAND, Actor, AuditAction, after_commit, record
from app.services.email_links import SendLink, require_mail
from app.services.errors import EmailTaken, UserNotFound
from app.services.sessions.lock import lock_users
from app.services.sessions.revocation import revoke_all_access

log = structlog.stdlib.get_logger(__name__)

BATCH = 1000


async def create_user(db: AsyncSession, email: Email, new_hash: str) -> None:
    """Create a user. Raise `EmailTaken`."""
    async with db.begin():
        user = await users.create_user(db, email, new_hash)
        record(db, COMMAND, AuditAction.USER_CREATED, user.id)


async def invite(db: AsyncSession, settings: Settings, email: Email) -> None:
    """Send a link to a new user, who chooses the password.

    Raise `EmailTaken` and `MailNotConfigured`.
    """
    require_mail(settings)
    async with db.begin():
        if await db.scalar(select(User.id).where(User.email == email)):
            raise EmailTaken
        await enqueue(db, SendLink(email=email, invited=True))
        record(db, COMMAND, AuditAction.USER_INVITED)
    log.info("user_invited")


async def replace_password(db: AsyncSession, email: Email, new_hash: str) -> None:
    """Replace a user's password, and revoke all their access. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await db.execute(update(User).where(User.id == user_id).values(password_hash=new_hash))
        await revoke_all_access(db, [user_id])
        record(db, COMMAND, AuditAction.PASSWORD_SET, user_id)
    log.info("password_set", user_id=str(user_id))


async def deactivate_user(db: AsyncSession, email: Email) -> None:
    """Deactivate a user, and revoke all their access. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await set_active(db, COMMAND, user_id, is_active=False)


async def grant_role(db: AsyncSession, email: Email, role: Role) -> None:
    """Replace the role of a user. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await set_role(db, COMMAND, user_id, role)


async def revoke_sessions_of(db: AsyncSession, email: Email) -> None:
    """Revoke all access of a user. Raise `UserNotFound`."""
    async with db.begin():
        user_id = await _lock(db, email)
        await revoke_access(db, COMMAND, user_id)


async def set_active(
    db: AsyncSession, actor: Actor, user_id: uuid.UUID, *, is_active: bool
) -> None:
    """Activate a user, or deactivate a user and revoke all their access. The row is locked."""
    if not is_active:  # also of a user whom something else has deactivated
        await revoke_all_access(db, [user_id])
    changed = await db.scalar(
        update(User)
        .where(User.id == user_id, User.is_active.is_distinct_from(is_active))
        .values(is_active=is_active)
        .returning(User.id)
    )
    if changed is None:
        return
    action = AuditAction.USER_ACTIVATED if is_active else AuditAction.USER_DEACTIVATED
    record(db, actor, action, user_id)
    after_commit(db, partial(log.info, str(action), user_id=str(user_id)))


async def set_role(db: AsyncSession, actor: Actor, user_id: uuid.UUID, role: Role) -> None:
    """Replace the role of a user. The row is locked."""
    old = await db.scalar(select(User.role).where(User.id == user_id))
    if old is None or old == role:
        return
    await db.execute(update(User).where(User.id == user_id).values(role=role))
    record(db, actor, AuditAction.ROLE_CHANGED, user_id, old=old, new=role)
    after_commit(
        db, partial(log.info, "role_changed", user_id=str(user_id), old=old, new=str(role))
    )


async def revoke_access(db: AsyncSession, actor: Actor, user_id: uuid.UUID) -> None:
    """Revoke all access of a user. The row is locked."""
    await revoke_all_access(db, [user_id])
    record(db, actor, AuditAction.SESSIONS_REVOKED, user_id)
    after_commit(db, partial(log.info, "sessions_ended", user_id=str(user_id)))


async def revoke_all_sessions(db: AsyncSession) -> int:
    """Revoke all access of all users, a batch at a time. Return the number of users."""
    # Go through the users by ID, not by time, because times are unreliable if a clock is set back.
    last = uuid.UUID(int=0)
    count = 0
    while True:
        async with db.begin():
            if count == 0:  # with the first users, so that an interruption leaves the event
                record(db, COMMAND, AuditAction.ALL_SESSIONS_REVOKED)
            ids = select(User.id).where(User.id > last).order_by(User.id).limit(BATCH)
            batch = list(await db.scalars(ids))
            if not batch:
                break
            await lock_users(db, batch)
            await revoke_all_access(db, batch)
        last = batch[-1]
        count += len(batch)
    log.info("every_session_ended", users=count)
    return count


async def _lock(db: AsyncSession, email: Email) -> uuid.UUID:
    user_id = await db.scalar(select(User.id).where(User.email == email))
    if user_id is None:
        raise UserNotFound
    await lock_users(db, [user_id])
    return user_id
