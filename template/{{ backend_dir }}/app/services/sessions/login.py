"""Signing in."""

import structlog
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import normalize_email
from app.core.security import PasswordHasher
from app.core.settings import Settings
from app.models import Session, User
from app.services.errors import InvalidCredentials
from app.services.sessions.ending import Presented, end_sessions, find_presented
from app.services.sessions.grant import Grant, open_session
from app.services.sessions.lock import lock_users
from app.services.users import PublicUser, find_credentials

log = structlog.stdlib.get_logger(__name__)

# The hash may change between its check and the lock: once by a parallel login that upgrades it,
# and once more by a password change in between.
ATTEMPTS = 3
LOCKED_USER = select(
    User.email,
    User.password_hash,
    User.is_active,
    User.created_at,
    func.clock_timestamp().label("now"),
).where(User.id == bindparam("user_id"))


async def log_in(
    db: AsyncSession,
    hasher: PasswordHasher,
    settings: Settings,
    *,
    username: str,
    password: str,
    presented: Presented,
    user_agent: str | None,
) -> tuple[PublicUser, Grant]:
    """Check a password and open a session.

    presented: the sessions that the client is signed in to; they end, a failed login ends nothing.
    Raises `InvalidCredentials`, after the same time whatever the reason, and `HashingUnavailable`.
    """
    try:
        user = await find_credentials(db, normalize_email(username))
    except ValueError:
        user = None  # what can't be an email belongs to nobody, and takes as long
    password_hash = user.password_hash if user else None
    for _ in range(ATTEMPTS):
        # No connection is held while hashing: it takes longer than all the rest.
        correct, better_hash = await hasher.verify(password, password_hash)
        if user is None or not correct:
            break
        async with db.begin():
            others = await find_presented(db, presented)
            await lock_users(db, [user.id, *(row.user_id for row in others)])
            current = (await db.execute(LOCKED_USER, {"user_id": user.id})).one_or_none()
            if current is None or not current.is_active:
                break
            if current.password_hash != password_hash:
                password_hash = current.password_hash
                continue
            if better_hash:
                await db.execute(
                    update(User).where(User.id == user.id).values(password_hash=better_hash)
                )
            await end_sessions(db, Session.id.in_([row.id for row in others]))
            grant = await open_session(db, settings, user.id, current.now, user_agent)
        log.info("login_succeeded", user_id=str(user.id), session_id=str(grant.session_id))
        return PublicUser(user.id, current.email, current.is_active, current.created_at), grant
    log.info("login_failed", user_id=str(user.id) if user else None)
    raise InvalidCredentials
