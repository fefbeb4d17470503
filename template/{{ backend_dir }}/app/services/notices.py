"""Notices: messages that tell users what happened to their account."""

from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.settings import Settings
from app.mail.job import send_later
from app.services.errors import TooManyAttempts
from app.services.rate_limits import RateLimiter, notice_limits

log = structlog.stdlib.get_logger(__name__)

# They are sent once for an account or an address, and are never dropped.
FINAL: Final = frozenset({"account_deleted", "email_changed"})


async def notify(db: AsyncSession, settings: Settings, email: str, template: str) -> None:
    """Send a notice after the caller's transaction is committed, if mail is configured.

    template: see `render_message`.

    An address receives only a few notices an hour. With `SIGNUP_MODE=open`, anyone can create an
    account with the address of somebody else, and cause any number of them.
    """
    if not settings.can_send_mail:
        return
    if template not in FINAL:
        try:
            await RateLimiter(settings).hit(db, notice_limits(email))
        except TooManyAttempts:
            log.warning("notice_dropped", template=template)
            return
    await send_later(db, settings, email, template)
