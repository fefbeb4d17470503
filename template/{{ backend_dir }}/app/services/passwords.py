"""New passwords: what is accepted, and that a change ends every session, whoever holds it."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.core.devices import Device
from app.core.emails import Email
from app.core.password_policy import password_problem
from app.core.security import HashingUnavailable
from app.core.settings import Settings
from app.models import Session, User
from app.services.errors import (
    NotSignedIn,
    TooManyAttempts,
    UnacceptablePassword,
    WrongPassword,
)
from app.services.gate import MAX_CHECKS, PasswordGate
from app.services.sessions.ending import end_sessions
from app.services.sessions.grant import Grant, open_session
from app.services.sessions.lock import lock_users
from app.services.throttle import Limit, current_password_limits, password_change_limits
from app.services.users import SignedIn

log = structlog.stdlib.get_logger(__name__)

LOCKED_USER = (
    select(User.password_hash, func.clock_timestamp().label("now"))
    .join(Session, Session.user_id == User.id)
    .where(
        User.is_active,
        Session.id == bindparam("session_id"),
        Session.revoked_at.is_(None),
        Session.expires_at > func.clock_timestamp(),
    )
)


@dataclass(frozen=True)
class Change:
    """Who wants another password, and by which one they prove that it is them."""

    signed_in: SignedIn
    current: str = field(repr=False)
    new: str = field(repr=False)
    user_agent: str | None
    device: Device | None = None


def check_password(settings: Settings, email: Email, password: str) -> None:
    """Raise `UnacceptablePassword` for a new password that breaks a rule."""
    if problem := password_problem(password, email, settings.password_min_length):
        raise UnacceptablePassword(problem)


async def set_password(db: AsyncSession, user_id: uuid.UUID, new_hash: str) -> None:
    """Replace the hash and end every session; call it with the user's row locked."""
    await db.execute(update(User).where(User.id == user_id).values(password_hash=new_hash))
    await end_sessions(db, Session.user_id == user_id)


async def change_password(gate: PasswordGate, change: Change) -> Grant:
    """Change the password of who is signed in, end all their sessions, and open a new one.

    Raises `UnacceptablePassword`, `WrongPassword`, `TooManyAttempts`, `HashingUnavailable`, and
    `NotSignedIn` when the session has ended meanwhile.
    """
    user, session_id = change.signed_in.user, change.signed_in.session_id
    check_password(gate.settings, Email(user.email), change.new)
    limits = current_password_limits(str(user.id))
    try:
        async with gate.reading() as driver:
            changes = password_change_limits(str(user.id))
            await gate.throttle.check(driver, limits + changes)
        async with gate.database.reads.connect() as connection:
            # Of the active session only: another change may have revoked it, and replaced the hash.
            stored = await _read_hash(connection, session_id)
        async with gate.transaction() as db:
            await gate.throttle.count(db, limits)
    except TooManyAttempts:
        log.warning("password_change_throttled", user_id=str(user.id), session_id=str(session_id))
        raise
    # `NotSignedIn` is raised only after the current password has proved right.
    async with gate.take_back_on((HashingUnavailable, NotSignedIn), limits):
        return await _check_and_change(gate, change, stored.password_hash, limits)


async def _read_hash(
    db: AsyncConnection | AsyncSession, session_id: uuid.UUID
) -> Row[str, datetime]:
    """Return the password hash of an active session's user. Raise `NotSignedIn`."""
    row = (await db.execute(LOCKED_USER, {"session_id": session_id})).one_or_none()
    if row is None:
        raise NotSignedIn
    return row


async def _check_and_change(
    gate: PasswordGate, change: Change, password_hash: str, limits: list[Limit]
) -> Grant:
    user_id, session_id = change.signed_in.user.id, change.signed_in.session_id
    is_known = change.device is not None and change.device.user_id == user_id
    requester = gate.requester(f"user {user_id}", is_known=is_known)
    new_hash = None
    for _ in range(MAX_CHECKS):
        if not (await gate.hasher.verify(change.current, password_hash, requester))[0]:
            break
        new_hash = new_hash or await gate.hasher.hash(change.new, requester)
        async with gate.transaction() as db:
            await lock_users(db, [user_id])
            current = await _read_hash(db, session_id)
            if current.password_hash != password_hash:
                password_hash = current.password_hash
                continue
            await set_password(db, user_id, new_hash)
            grant = await open_session(db, gate.settings, user_id, current.now, change.user_agent)
            await gate.throttle.take_back(db, limits)
            await gate.throttle.count(db, password_change_limits(str(user_id)))
        log.info("password_changed", user_id=str(user_id), session_id=str(grant.session_id))
        return grant
    log.info("password_change_failed", user_id=str(user_id), session_id=str(session_id))
    raise WrongPassword
