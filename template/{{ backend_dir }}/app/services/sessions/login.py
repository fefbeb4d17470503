"""Signing in."""

import uuid
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Row, bindparam, func, select, update

from app.core.emails import Email, normalize_email
from app.models import Session, User
from app.services.errors import InvalidCredentials, TooManyAttempts
from app.services.gate import MAX_CHECKS, PasswordGate
from app.services.sessions.ending import Presented, end_sessions, find_presented
from app.services.sessions.grant import Grant, open_session
from app.services.sessions.lock import lock_users
from app.services.throttle import Limit, login_limits
from app.services.users import PublicUser

log = structlog.stdlib.get_logger(__name__)

CREDENTIALS = select(User.id, User.password_hash).where(User.email == bindparam("email"))
LOCKED_USER = select(
    User.email,
    User.password_hash,
    User.is_active,
    User.created_at,
    func.clock_timestamp().label("now"),
).where(User.id == bindparam("user_id"))


@dataclass(frozen=True)
class Credentials:
    """Who wants in, and from where.

    username: what was typed for the email.
    address: the client's.
    presented: the sessions that the client is signed in to; a login ends them.
    """

    username: str
    password: str = field(repr=False)
    address: str | None
    user_agent: str | None
    presented: Presented


async def log_in(gate: PasswordGate, credentials: Credentials) -> tuple[PublicUser, Grant]:
    """Check a password and open a session.

    A failed login ends nothing. Raises `InvalidCredentials`, after the same time whatever the
    reason, `TooManyAttempts` and `HashingUnavailable`.
    """
    email = _email(credentials.username)
    limits = login_limits(email or credentials.username, credentials.address)
    try:
        async with gate.db.begin():
            await gate.throttle.count(gate.db, limits)
            user = (await gate.db.execute(CREDENTIALS, {"email": email})).one_or_none()
    except TooManyAttempts:
        log.warning("login_throttled")
        raise
    async with gate.throttle.take_back_if_unheard(gate.db, limits):
        return await _check_and_open(gate, credentials, user, limits)


async def _check_and_open(
    gate: PasswordGate,
    credentials: Credentials,
    user: Row[uuid.UUID, str] | None,
    limits: list[Limit],
) -> tuple[PublicUser, Grant]:
    db = gate.db
    password_hash = user.password_hash if user else None
    for _ in range(MAX_CHECKS):
        # No connection is held while hashing: it takes longer than all the rest.
        correct, better_hash = await gate.hasher.verify(credentials.password, password_hash)
        if user is None or not correct:
            break
        async with db.begin():
            others = await find_presented(db, credentials.presented)
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
            if others:
                await end_sessions(db, Session.id.in_([row.id for row in others]))
            grant = await open_session(
                db, gate.settings, user.id, current.now, credentials.user_agent
            )
            await gate.throttle.take_back(db, limits)
        log.info("login_succeeded", user_id=str(user.id), session_id=str(grant.session_id))
        return PublicUser(user.id, current.email, current.is_active, current.created_at), grant
    log.info("login_failed", user_id=str(user.id) if user else None)
    raise InvalidCredentials


def _email(username: str) -> Email | None:
    """Give what was typed as an email; what can't be one belongs to nobody, and takes as long."""
    try:
        return normalize_email(username)
    except ValueError:
        return None
