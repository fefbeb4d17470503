"""A signed-in user confirms an action with the current password."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.devices import Device
from app.models import User, UserSession
from app.services.errors import NotAuthenticated, TooManyAttempts, WrongPassword
from app.services.passwords.verification import StoredUser, VerifiedUser, verified_user
from app.services.rate_limits import RateLimit, current_password_limits
from app.services.resources import Resources
from app.services.sessions.authentication import AuthContext

log = structlog.stdlib.get_logger(__name__)

USER_OF_SESSION = (
    select(User.id, User.password_hash)
    .join(UserSession, UserSession.user_id == User.id)
    .where(User.is_active, UserSession.id == bindparam("session_id"), UserSession.active())
)


@asynccontextmanager
async def confirmed_user(
    resources: Resources,
    auth: AuthContext,
    current: str,
    *,
    failed: str,
    throttled: str,
    limits: list[RateLimit],
    device: Device | None = None,
    new_password: str | None = None,
) -> AsyncIterator[VerifiedUser]:
    """Verify the current password, and yield the user in the transaction that holds the lock.

    failed, throttled: the events for the log. limits: on successful actions.
    device: the device of the request's device token, if that is valid. new_password: see
        `verified_user`.

    Raise `WrongPassword`, `TooManyAttempts`, `HashingUnavailable`, and `NotAuthenticated` if
    another request has revoked the session.
    """
    user_id, session_id = auth.user.id, auth.session_id
    names = {"user_id": str(user_id), "session_id": str(session_id)}
    limiter, database = resources.rate_limiter, resources.database
    guesses = current_password_limits(str(user_id))
    try:
        async with database.lock_slot(), database.reads.connect() as connection:
            await limiter.check(connection, guesses + limits)
            stored = await _stored_user(connection, session_id)
        async with database.transaction() as db:
            await limiter.hit(db, guesses)
    except TooManyAttempts:
        log.warning(throttled, **names)
        raise
    is_known = device is not None and device.user_id == user_id
    requester = limiter.requester(f"user {user_id}", is_known=is_known)
    try:
        async with verified_user(
            resources,
            stored,
            current,
            requester,
            session_id=session_id,
            new_password=new_password,
        ) as verified:
            yield verified
            await limiter.refund(verified.db, guesses)
            await limiter.hit(verified.db, limits)
    except WrongPassword:
        log.info(failed, **names)
        raise
    except Exception as error:  # no wrong guess: the password was correct, or not verified
        async with database.transaction() as db:
            await limiter.refund(db, guesses)
        if isinstance(error, TooManyAttempts):
            log.warning(throttled, **names)
        raise


async def _stored_user(connection: AsyncConnection, session_id: uuid.UUID) -> StoredUser:
    """Return the user of an active session. Raise `NotAuthenticated`."""
    row = (await connection.execute(USER_OF_SESSION, {"session_id": session_id})).one_or_none()
    if row is None:
        raise NotAuthenticated
    return StoredUser(id=row.id, password_hash=row.password_hash)
