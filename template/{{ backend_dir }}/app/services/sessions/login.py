"""Sign-in with email and password."""

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
from app.models import User, UserSession
from app.services.errors import InvalidCredentials, NotAuthenticated, TooManyAttempts, WrongPassword
from app.services.passwords.verification import StoredUser, verified_user
from app.services.rate_limits import (
    RateLimit,
    RateLimiter,
    address_limits,
    device_limits,
    login_limits,
    networks,
    success_limits,
)
from app.services.resources import Resources
from app.services.sessions.creation import IssuedTokens, create_session
from app.services.sessions.revocation import PresentedTokens, find_sessions, revoke_sessions
from app.services.users import PublicUser, public_user

log = structlog.stdlib.get_logger(__name__)

STORED_USER = select(User.id, User.password_hash).where(User.email == bindparam("email"))


@dataclass(frozen=True)
class Credentials:
    """An attempt to sign in.

    username: the email as the user typed it.
    address: the client's address.
    presented: the tokens of the request; a sign-in revokes their sessions.
    device: the device of the request's device token, if that is valid.
    """

    username: str
    password: str = field(repr=False)
    address: str | None
    user_agent: str | None
    presented: PresentedTokens
    device: Device | None = None


@dataclass(frozen=True)
class Login:
    """A successful sign-in: the user, the tokens of the new session, and the device."""

    user: PublicUser
    tokens: IssuedTokens
    device: Device


@dataclass(frozen=True)
class Attempt:
    """An attempt to sign in, and its limits.

    user: with the stored hash; None if there is no such user.
    device: a device on which this user has signed in before; None for any other device.
    account_limits, address_limits: the limits on guesses.
    """

    credentials: Credentials
    user: StoredUser | None
    device: Device | None
    account_limits: list[RateLimit]
    address_limits: list[RateLimit]
    requester: Requester

    @property
    def guess_limits(self) -> list[RateLimit]:
        """Return all limits on guesses."""
        return self.account_limits + self.address_limits

    @property
    def success_limits(self) -> list[RateLimit]:
        """Return the limits on successful attempts."""
        return success_limits(str(self.user.id)) if self.user else []

    @property
    def names(self) -> dict[str, str | None]:
        """Return the fields of a log event that name the user, if there is one, and the client."""
        return {
            "user_id": str(self.user.id) if self.user else None,
            "client_address": self.credentials.address,
        }


async def sign_in(resources: Resources, credentials: Credentials) -> Login:
    """Verify a password, and create a session.

    A failed sign-in revokes nothing. Raise `InvalidCredentials` (for every reason, after the same
    time), `TooManyAttempts` and `HashingUnavailable`.
    """
    database, limiter = resources.database, resources.rate_limiter
    async with database.lock_slot(), database.reads.connect() as connection:
        attempt = await _load_attempt(limiter, connection, credentials)
        with _rejection_logged(attempt):
            await limiter.check(connection, attempt.guess_limits + attempt.success_limits)
        presented = await find_sessions(connection, credentials.presented)
    with _rejection_logged(attempt):
        async with database.transaction() as db:
            await limiter.hit(db, attempt.guess_limits)
        # A client that fills the queue for hashing uses up its own limits, and not the account's.
        async with limiter.refund_on(HashingUnavailable, database, attempt.account_limits):
            return await _verify_and_create(resources, attempt, presented)


@contextmanager
def _rejection_logged(attempt: Attempt) -> Iterator[None]:
    try:
        yield
    except TooManyAttempts:
        log.warning("login_throttled", **attempt.names)
        raise


async def _load_attempt(
    limiter: RateLimiter, connection: AsyncConnection, credentials: Credentials
) -> Attempt:
    email = _parse_email(credentials.username)
    row = (await connection.execute(STORED_USER, {"email": email})).one_or_none()
    user = StoredUser(id=row.id, password_hash=row.password_hash) if row else None
    device, address = credentials.device, credentials.address
    if device and user and device.user_id == user.id:
        requester = limiter.requester(f"device {device.id}", is_known=True)
        limits = device_limits(device)
        return Attempt(credentials, user, device, limits, [], requester)
    username = email or credentials.username
    return Attempt(
        credentials,
        user,
        None,
        login_limits(username, address),
        address_limits(address),
        limiter.requester(networks(address)[-1], f"account {username}"),
    )


async def _verify_and_create(
    resources: Resources, attempt: Attempt, presented: list[Row[uuid.UUID, uuid.UUID]]
) -> Login:
    """Verify the password, revoke the presented sessions, and create a new one."""
    credentials = attempt.credentials
    also_lock = [row.user_id for row in presented]
    try:
        async with verified_user(
            resources, attempt.user, credentials.password, attempt.requester, also_lock=also_lock
        ) as verified:
            db, user = verified.db, verified.user
            if presented:
                await revoke_sessions(db, UserSession.id.in_([row.id for row in presented]))
            tokens = await create_session(
                db, resources.settings, user.id, verified.now, credentials.user_agent
            )
            await resources.rate_limiter.refund(db, attempt.guess_limits)
            await resources.rate_limiter.hit(db, attempt.success_limits)
    except (WrongPassword, NotAuthenticated):
        log.info("login_failed", **attempt.names)
        raise InvalidCredentials from None
    log.info("login_succeeded", user_id=str(user.id), session_id=str(tokens.session_id))
    return Login(public_user(user), tokens, attempt.device or Device.new(user.id))


def _parse_email(username: str) -> Email | None:
    """Return the username as an email, or None. Signing in takes the same time in both cases."""
    try:
        return normalize_email(username)
    except ValueError:
        return None
