"""Signing in."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Row, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.devices import Device
from app.core.emails import Email, normalize_email
from app.core.security import HashingUnavailable, Requester
from app.models import Session, User
from app.services.errors import (
    InvalidCredentials,
    NotSignedIn,
    TooManyAttempts,
    WrongPassword,
)
from app.services.resources import Resources
from app.services.sessions.ending import Presented, end_sessions, find_presented
from app.services.sessions.grant import Grant, open_session
from app.services.throttle import (
    Limit,
    Throttle,
    address_limits,
    device_limits,
    login_limits,
    networks,
    success_limits,
)
from app.services.users import PublicUser, public_user
from app.services.verification import StoredUser, verified_user

log = structlog.stdlib.get_logger(__name__)

STORED_USER = select(User.id, User.password_hash).where(User.email == bindparam("email"))


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
class Attempt:
    """An attempt to sign in, and what bounds it.

    user: with the stored hash; None if there is no such user.
    device: a device on which this user has signed in before; None for any other device.
    presented: the IDs and users of the sessions that this login revokes.
    account_limits, address_limits: on guesses.
    """

    credentials: Credentials
    user: StoredUser | None
    device: Device | None
    presented: list[Row[uuid.UUID, uuid.UUID]]
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


async def log_in(resources: Resources, credentials: Credentials) -> Login:
    """Check a password and open a session.

    A failed login revokes nothing. Raise `InvalidCredentials`, after the same time whatever the
    reason, `TooManyAttempts` and `HashingUnavailable`.
    """
    database, throttle = resources.database, resources.throttle
    async with database.lock_slot(), database.reads.connect() as connection:
        attempt = await _attempt(throttle, connection, credentials)
        with _rejection_logged(attempt):
            await throttle.check(connection, attempt.guess_limits + attempt.success_limits)
    with _rejection_logged(attempt):
        async with database.transaction() as db:
            await throttle.count(db, attempt.guess_limits)
        # A client that fills the queue for hashing uses up its own limits, and not the account's.
        async with throttle.take_back_on(HashingUnavailable, database, attempt.account_limits):
            return await _verify_and_open(resources, attempt)


@contextmanager
def _rejection_logged(attempt: Attempt) -> Iterator[None]:
    try:
        yield
    except TooManyAttempts:
        log.warning("login_throttled", **attempt.names)
        raise


async def _attempt(
    throttle: Throttle, connection: AsyncConnection, credentials: Credentials
) -> Attempt:
    email = _email(credentials.username)
    row = (await connection.execute(STORED_USER, {"email": email})).one_or_none()
    user = StoredUser(id=row.id, password_hash=row.password_hash) if row else None
    presented = await find_presented(connection, credentials.presented)
    device, address = credentials.device, credentials.address
    if device and user and device.user_id == user.id:
        requester = throttle.requester(f"device {device.id}", is_known=True)
        limits = device_limits(device)
        return Attempt(credentials, user, device, presented, limits, [], requester)
    username = email or credentials.username
    return Attempt(
        credentials,
        user,
        None,
        presented,
        login_limits(username, address),
        address_limits(address),
        throttle.requester(networks(address)[-1], f"account {username}"),
    )


async def _verify_and_open(resources: Resources, attempt: Attempt) -> Login:
    credentials, presented = attempt.credentials, attempt.presented
    also_lock = [row.user_id for row in presented]
    try:
        async with verified_user(
            resources, attempt.user, credentials.password, attempt.requester, also_lock=also_lock
        ) as verified:
            db, user = verified.db, verified.user
            if presented:
                await end_sessions(db, Session.id.in_([row.id for row in presented]))
            grant = await open_session(
                db, resources.settings, user.id, verified.now, credentials.user_agent
            )
            await resources.throttle.take_back(db, attempt.guess_limits)
            await resources.throttle.count(db, attempt.success_limits)
    except (WrongPassword, NotSignedIn):
        log.info("login_failed", **attempt.names)
        raise InvalidCredentials from None
    log.info("login_succeeded", user_id=str(user.id), session_id=str(grant.session_id))
    return Login(public_user(user), grant, attempt.device or Device.new(user.id))


def _email(username: str) -> Email | None:
    """Return the username as an email, or None if it cannot be one: that takes as long."""
    try:
        return normalize_email(username)
    except ValueError:
        return None
