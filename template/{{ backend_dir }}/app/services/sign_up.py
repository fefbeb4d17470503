"""Signing up."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.security import PasswordHasher
from app.core.settings import Settings
from app.services.errors import SignupDisabled
from app.services.passwords import check_password
from app.services.throttle import Throttle, sign_up_limits
from app.services.users import PublicUser, create_user


async def sign_up(
    db: AsyncSession,
    hasher: PasswordHasher,
    throttle: Throttle,
    settings: Settings,
    *,
    email: Email,
    password: str,
    address: str | None,
) -> PublicUser:
    """Create an account for whoever asks, where the settings allow it.

    Raises `SignupDisabled`, `UnacceptablePassword`, `TooManyAttempts`, `EmailTaken` and
    `HashingUnavailable`.
    """
    if not settings.signup_enabled:
        raise SignupDisabled
    check_password(settings, email, password)
    limits = sign_up_limits(address)
    async with db.begin():
        await throttle.count(db, limits)
    async with throttle.attempt(db, limits):
        password_hash = await hasher.hash(password)
    async with db.begin():
        user = await create_user(db, email, password_hash)
        await throttle.take_back(db, limits)
    return user
