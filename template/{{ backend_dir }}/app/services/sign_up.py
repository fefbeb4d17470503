"""Signing up."""

import structlog

from app.core.emails import Email
from app.services.errors import SignupDisabled, TooManyAttempts
from app.services.gate import PasswordGate
from app.services.passwords import check_password
from app.services.throttle import networks, sign_up_limits
from app.services.users import PublicUser, create_user

log = structlog.stdlib.get_logger(__name__)


async def sign_up(
    gate: PasswordGate, *, email: Email, password: str, address: str | None
) -> PublicUser:
    """Create an account for a user who asks for one, if the settings allow it.

    Raise `SignupDisabled`, `UnacceptablePassword`, `TooManyAttempts`, `EmailTaken` and
    `HashingUnavailable`.
    """
    if not gate.settings.signup_enabled:
        raise SignupDisabled
    check_password(gate.settings, email, password)
    limits = sign_up_limits(address)
    try:
        async with gate.reading() as driver:
            await gate.throttle.check(driver, limits)
        async with gate.transaction() as db:
            await gate.throttle.count(db, limits)
    except TooManyAttempts:
        log.warning("sign_up_throttled", client_address=address)
        raise
    requester = gate.requester(networks(address)[-1])
    password_hash = await gate.hasher.hash(password, requester)
    async with gate.transaction() as db:
        user = await create_user(db, email, password_hash)
    log.info("user_signed_up", user_id=str(user.id), client_address=address)
    return user
