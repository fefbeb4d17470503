"""Signing in."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Text, bindparam, func, select, update

from app.core.devices import Device
from app.core.emails import Email, normalize_email
from app.core.security import HashingUnavailable, Requester
from app.db.driver import Query
from app.models import Session, User
from app.services.errors import InvalidCredentials, TooManyAttempts
from app.services.gate import MAX_CHECKS, PasswordGate
from app.services.sessions.ending import Presented, end_sessions, find_presented
from app.services.sessions.grant import Grant, open_session
from app.services.sessions.lock import lock_users
from app.services.throttle import (
    Limit,
    address_limits,
    device_limits,
    login_limits,
    networks,
    success_limits,
)
from app.services.users import PublicUser

log = structlog.stdlib.get_logger(__name__)

CREDENTIALS = Query(
    select(User.id, User.password_hash).where(User.email == bindparam("email", type_=Text))
)
LOCKED_USER = select(
    User.email,
    User.password_hash,
    User.is_active,
    User.created_at,
    func.clock_timestamp().label("now"),
).where(User.id == bindparam("user_id"))


@dataclass(frozen=True)
class Credentials:
    """An attempt to sign in.

    username: the email as the user typed it.
    address: the client's.
    presented: the sessions that the client is signed in to; a login revokes them.
    device: the device that the client claims to be, with a valid signature.
    """

    username: str
    password: str = field(repr=False)
    address: str | None
    user_agent: str | None
    presented: Presented
    device: Device | None = None


@dataclass(frozen=True)
class Login:
    """A successful login: the user, the tokens of the new session, and the device."""

    user: PublicUser
    grant: Grant
    device: Device


@dataclass(frozen=True)
class StoredUser:
    """The user with an email, as far as a login reads it before it locks the row."""

    id: uuid.UUID
    password_hash: str


@dataclass(frozen=True)
class Attempt:
    """An attempt to sign in, and what bounds it.

    user: with the stored hash; None if there is no such user.
    device: a device on which this user has signed in before; None for any other device.
    account_limits, address_limits: on guesses.
    """

    credentials: Credentials
    user: StoredUser | None
    device: Device | None
    account_limits: list[Limit]
    address_limits: list[Limit]
    requester: Requester

    @property
    def guess_limits(self) -> list[Limit]:
        """Return all limits on guesses."""
        return self.account_limits + self.address_limits

    @property
    def success_limits(self) -> list[Limit]:
        """Return the limits on what may succeed."""
        return success_limits(str(self.user.id)) if self.user else []

    @property
    def names(self) -> dict[str, str | None]:
        """Return what a security event says about the user, if there is one, and the client."""
        return {
            "user_id": str(self.user.id) if self.user else None,
            "client_address": self.credentials.address,
        }


async def log_in(gate: PasswordGate, credentials: Credentials) -> Login:
    """Check a password and open a session.

    A failed login revokes nothing. Raise `InvalidCredentials`, after the same time whatever the
    reason, `TooManyAttempts` and `HashingUnavailable`.
    """
    email = _email(credentials.username)
    async with gate.reading() as driver:
        row = await CREDENTIALS.fetch(driver, email=email)
        user = StoredUser(*row) if row else None
        attempt = _attempt(gate, credentials, email or credentials.username, user)
        with _rejection_logged(attempt):
            await gate.throttle.check(driver, attempt.guess_limits + attempt.success_limits)
    with _rejection_logged(attempt):
        async with gate.transaction() as db:
            await gate.throttle.count(db, attempt.guess_limits)
        # A client that fills the queue for hashing uses up its own limits, and not the account's.
        async with gate.take_back_on(HashingUnavailable, attempt.account_limits):
            return await _check_and_open(gate, attempt)


@contextmanager
def _rejection_logged(attempt: Attempt) -> Iterator[None]:
    try:
        yield
    except TooManyAttempts:
        log.warning("login_throttled", **attempt.names)
        raise


def _attempt(
    gate: PasswordGate,
    credentials: Credentials,
    username: str,
    user: StoredUser | None,
) -> Attempt:
    device, address = credentials.device, credentials.address
    if device and user and device.user_id == user.id:
        requester = gate.requester(f"device {device.id}", is_known=True)
        return Attempt(credentials, user, device, device_limits(device), [], requester)
    requester = gate.requester(networks(address)[-1], f"account {username}")
    return Attempt(
        credentials,
        user,
        None,
        login_limits(username, address),
        address_limits(address),
        requester,
    )


async def _check_and_open(gate: PasswordGate, attempt: Attempt) -> Login:
    user, credentials = attempt.user, attempt.credentials
    password_hash = user.password_hash if user else None
    for _ in range(MAX_CHECKS):
        # No connection is held while hashing: it takes longer than all the rest.
        correct, better_hash = await gate.hasher.verify(
            credentials.password, password_hash, attempt.requester
        )
        if user is None or not correct:
            break
        async with gate.transaction() as db:
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
            await gate.throttle.take_back(db, attempt.guess_limits)
            await gate.throttle.count(db, attempt.success_limits)
        log.info("login_succeeded", user_id=str(user.id), session_id=str(grant.session_id))
        public = PublicUser(user.id, current.email, current.is_active, current.created_at)
        return Login(public, grant, attempt.device or Device.new(user.id))
    log.info("login_failed", **attempt.names)
    raise InvalidCredentials


def _email(username: str) -> Email | None:
    """Return the username as an email, or None if it cannot be one: that takes as long."""
    try:
        return normalize_email(username)
    except ValueError:
        return None
