"""Signing up."""

from app.core.emails import Email
from app.services.errors import SignupDisabled
from app.services.gate import PasswordGate
from app.services.passwords import check_password
from app.services.throttle import sign_up_limits
from app.services.users import PublicUser, create_user


async def sign_up(
    gate: PasswordGate, *, email: Email, password: str, address: str | None
) -> PublicUser:
    """Create an account for whoever asks, where the settings allow it.

    Raises `SignupDisabled`, `UnacceptablePassword`, `TooManyAttempts`, `EmailTaken` and
    `HashingUnavailable`.
    """
    if not gate.settings.signup_enabled:
        raise SignupDisabled
    check_password(gate.settings, email, password)
    limits = sign_up_limits(address)
    async with gate.db.begin():
        await gate.throttle.count(gate.db, limits)
    async with gate.throttle.take_back_if_unheard(gate.db, limits):
        password_hash = await gate.hasher.hash(password)
    async with gate.db.begin():
        user = await create_user(gate.db, email, password_hash)
        await gate.throttle.take_back(gate.db, limits)
    return user
