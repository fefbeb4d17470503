"""A user changes their password."""

import uuid

import structlog
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.devices import Device
from app.core.emails import Email
from app.core.security import HashingUnavailable
from app.models import User, UserSession
from app.services.errors import NotAuthenticated, TooManyAttempts, WrongPassword
from app.services.passwords.policy import check_password
from app.services.passwords.verification import StoredUser, verified_user
from app.services.rate_limits import current_password_limits, password_change_limits
from app.services.resources import Resources
from app.services.sessions.authentication import AuthContext
from app.services.sessions.creation import IssuedTokens, create_session
from app.services.sessions.revocation import revoke_sessions

log = structlog.stdlib.get_logger(__name__)

USER_OF_SESSION = (
    select(User.id, User.password_hash)
    .join(UserSession, UserSession.user_id == User.id)
    .where(User.is_active, UserSession.id == bindparam("session_id"), UserSession.active())
)


async def change_password(
    resources: Resources,
    auth: AuthContext,
    *,
    current: str,
    new: str,
    user_agent: str | None,
    device: Device | None = None,
) -> IssuedTokens:
    """Change a user's password, revoke all sessions of the user, and create a new one.

    current: the current password, which the user must know.
    device: the device of the request's device token, if that is valid.

    Raise `UnacceptablePassword`, `WrongPassword`, `TooManyAttempts`, `HashingUnavailable`, and
    `NotAuthenticated` if another request has revoked the session.
    """
    user, session_id = auth.user, auth.session_id
    names = {"user_id": str(user.id), "session_id": str(session_id)}
    limiter, database = resources.rate_limiter, resources.database
    check_password(resources.settings, Email(user.email), new)
    limits = current_password_limits(str(user.id))
    changes = password_change_limits(str(user.id))
    try:
        async with database.lock_slot(), database.reads.connect() as connection:
            await limiter.check(connection, limits + changes)
            stored = await _stored_user(connection, session_id)
        async with database.transaction() as db:
            await limiter.hit(db, limits)
    except TooManyAttempts:
        log.warning("password_change_throttled", **names)
        raise
    is_known = device is not None and device.user_id == user.id
    requester = limiter.requester(f"user {user.id}", is_known=is_known)
    try:
        # `verified_user` raises `NotAuthenticated` only if the password was correct.
        async with (
            limiter.refund_on((HashingUnavailable, NotAuthenticated), database, limits),
            verified_user(
                resources,
                stored,
                current,
                requester,
                session_id=session_id,
                new_password=new,
            ) as verified,
        ):
            await revoke_sessions(verified.db, UserSession.user_id == user.id)
            tokens = await create_session(
                verified.db, resources.settings, user.id, verified.now, user_agent
            )
            await limiter.refund(verified.db, limits)
            await limiter.hit(verified.db, changes)
    except WrongPassword:
        log.info("password_change_failed", **names)
        raise
    log.info("password_changed", user_id=str(user.id), session_id=str(tokens.session_id))
    return tokens


async def _stored_user(connection: AsyncConnection, session_id: uuid.UUID) -> StoredUser:
    """Return the user of an active session. Raise `NotAuthenticated`."""
    row = (await connection.execute(USER_OF_SESSION, {"session_id": session_id})).one_or_none()
    if row is None:
        raise NotAuthenticated
    return StoredUser(id=row.id, password_hash=row.password_hash)
