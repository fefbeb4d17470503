"""A user changes their password."""

import structlog

from app.core.devices import Device
from app.core.emails import Email
from app.services.notices import notify
from app.services.passwords.confirmation import confirmed_user
from app.services.passwords.policy import check_password
from app.services.rate_limits import password_change_limits
from app.services.resources import Resources
from app.services.sessions.authentication import AuthContext
from app.services.sessions.creation import IssuedTokens, create_session
from app.services.sessions.revocation import revoke_all_access

log = structlog.stdlib.get_logger(__name__)


async def change_password(
    resources: Resources,
    auth: AuthContext,
    *,
    current: str,
    new: str,
    user_agent: str | None,
    device: Device | None = None,
) -> IssuedTokens:
    """Change a user's password, revoke all sessions of the user, and create a new one.

    current: the current password, which the user must know.
    device: the device of the request's device token, if that is valid.

    Raise `UnacceptablePassword`, and what `confirmed_user` raises.
    """
    user, settings = auth.user, resources.settings
    check_password(settings, Email(user.email), new)
    async with confirmed_user(
        resources,
        auth,
        current,
        failed="password_change_failed",
        throttled="password_change_throttled",
        limits=password_change_limits(str(user.id)),
        device=device,
        new_password=new,
    ) as confirmed:
        await revoke_all_access(confirmed.db, [user.id])
        tokens = await create_session(confirmed.db, settings, user.id, confirmed.now, user_agent)
        await notify(confirmed.db, settings, confirmed.user.email, "password_changed")
    log.info("password_changed", user_id=str(user.id), session_id=str(tokens.session_id))
    return tokens
