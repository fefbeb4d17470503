"""New passwords: what is accepted, and that a change ends every session, whoever holds it."""

import uuid

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.password_policy import password_problem
from app.core.security import PasswordHasher
from app.core.settings import Settings
from app.models import Session, User
from app.services.errors import NotSignedIn, UnacceptablePassword, WrongPassword
from app.services.sessions.ending import end_sessions
from app.services.sessions.grant import Grant, open_session
from app.services.sessions.lock import lock_users
from app.services.throttle import Throttle, current_password_limits
from app.services.users import SignedIn

log = structlog.stdlib.get_logger(__name__)

# As in login: the hash may change between its check and the lock.
ATTEMPTS = 3


def check_password(settings: Settings, email: Email, password: str) -> None:
    """Raise `UnacceptablePassword` for a new password that breaks a rule."""
    if problem := password_problem(password, email, settings.password_min_length):
        raise UnacceptablePassword(problem)


async def set_password(db: AsyncSession, user_id: uuid.UUID, new_hash: str) -> None:
    """Replace the hash and end every session; call it with the user's row locked."""
    await db.execute(update(User).where(User.id == user_id).values(password_hash=new_hash))
    await end_sessions(db, Session.user_id == user_id)


async def change_password(
    db: AsyncSession,
    hasher: PasswordHasher,
    throttle: Throttle,
    settings: Settings,
    *,
    signed_in: SignedIn,
    current: str,
    new: str,
    user_agent: str | None,
) -> Grant:
    """Change the password of who is signed in, end all their sessions, and open a new one.

    Raises `UnacceptablePassword`, `WrongPassword`, `TooManyAttempts`, `HashingUnavailable`, and
    `NotSignedIn` when the session has ended meanwhile.
    """
    check_password(settings, Email(signed_in.user.email), new)
    user_id = signed_in.user.id
    limits = current_password_limits(str(user_id))
    async with db.begin():
        await throttle.count(db, limits)
        current_hash = await db.scalar(select(User.password_hash).where(User.id == user_id))
    async with throttle.attempt(db, limits):
        return await _check_and_change(
            db, hasher, throttle, settings, signed_in, current, new, user_agent, current_hash
        )


async def _check_and_change(
    db: AsyncSession,
    hasher: PasswordHasher,
    throttle: Throttle,
    settings: Settings,
    signed_in: SignedIn,
    current: str,
    new: str,
    user_agent: str | None,
    current_hash: str | None,
) -> Grant:
    user_id = signed_in.user.id
    limits = current_password_limits(str(user_id))
    new_hash = None
    locked_state = (
        select(User.password_hash, func.clock_timestamp().label("now"))
        .join(Session, Session.user_id == User.id)
        .where(User.is_active, Session.id == signed_in.session_id, Session.revoked_at.is_(None))
    )
    for _ in range(ATTEMPTS):
        if not (await hasher.verify(current, current_hash))[0]:
            break
        new_hash = new_hash or await hasher.hash(new)
        async with db.begin():
            await lock_users(db, [user_id])
            state = (await db.execute(locked_state)).one_or_none()
            if state is None:
                raise NotSignedIn
            if state.password_hash != current_hash:
                current_hash = state.password_hash
                continue
            await set_password(db, user_id, new_hash)
            grant = await open_session(db, settings, user_id, state.now, user_agent)
            await throttle.take_back(db, limits)
        log.info("password_changed", user_id=str(user_id), session_id=str(grant.session_id))
        return grant
    raise WrongPassword
