"""Sign-up: a user creates an account."""

import structlog

from app.core.emails import Email
from app.services.errors import SignupDisabled, TooManyAttempts
from app.services.passwords.policy import check_password
from app.services.rate_limits import networks, sign_up_limits
from app.services.resources import Resources
from app.services.users import PublicUser, create_user

log = structlog.stdlib.get_logger(__name__)


async def sign_up(
    resources: Resources, *, email: Email, password: str, address: str | None
) -> PublicUser:
    """Create an account, if the settings allow users to sign up.

    Raise `SignupDisabled`, `UnacceptablePassword`, `TooManyAttempts`, `EmailTaken` and
    `HashingUnavailable`.
    """
    if resources.settings.sign_up != "open":
        raise SignupDisabled
    check_password(resources.settings, email, password)
    limits = sign_up_limits(address)
    database = resources.database
    try:
        async with database.lock_slot(), database.reads.connect() as connection:
            await resources.rate_limiter.check(connection, limits)
        async with database.transaction() as db:
            await resources.rate_limiter.hit(db, limits)
    except TooManyAttempts:
        log.warning("sign_up_throttled", client_address=address)
        raise
    requester = resources.rate_limiter.requester(networks(address)[-1])
    password_hash = await resources.hasher.hash(password, requester)
    async with database.transaction() as db:
        user = await create_user(db, email, password_hash)
    log.info("user_signed_up", user_id=str(user.id), client_address=address)
    return user
