"""Links that are sent by mail. Whoever opens one controls the address.

A request for a link enqueues a job, whatever the address is. The response therefore takes the same
time for each address, and does not tell who has an account.
"""

import uuid
from datetime import timedelta
from enum import StrEnum
from typing import Final

import structlog
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.settings import Settings
from app.core.tokens import RawToken, generate_refresh_token, hash_refresh_token
from app.jobs.job import Job, JobContext
from app.jobs.queue import enqueue
from app.mail.message import render_message
from app.mail.sending import Rejected, send
from app.models import EmailToken, User
from app.services.errors import MailNotConfigured
from app.services.rate_limits import email_link_limits
from app.services.resources import Resources

log = structlog.stdlib.get_logger(__name__)


class EmailPurpose(StrEnum):
    """What a link is for."""

    RESET = "reset"
    SIGN_UP = "sign_up"
    CHANGE = "email"


LIFETIMES: Final = {
    EmailPurpose.RESET: timedelta(minutes=30),
    EmailPurpose.SIGN_UP: timedelta(hours=24),
    EmailPurpose.CHANGE: timedelta(hours=24),
}


class SendLink(Job):
    """Sends a link to an address, if there is a reason to.

    The token is created here and not in the request, so that it is in no payload. A repetition
    sends a new one.
    """

    email: Email

    async def run(self, context: JobContext) -> None:
        """Send a reset link to a user, or a sign-up link to an address without a user."""
        settings = context.settings
        async with context.database.transaction() as db:
            user = await db.scalar(select(User).where(User.email == self.email))
            if user is not None and user.is_active:
                purpose = EmailPurpose.RESET
            elif user is None and settings.sign_up == "email":
                purpose = EmailPurpose.SIGN_UP
            else:
                log.info("email_link_skipped")
                return
            token = await create_email_token(db, purpose, self.email, user)
        await _send_link(settings, purpose, self.email, token)


class SendAddressLink(Job):
    """Sends a link to an address that a user wants to have, or to verify again."""

    user_id: uuid.UUID
    email: Email
    purpose: EmailPurpose

    async def run(self, context: JobContext) -> None:
        """Send the link, unless the address belongs to another user."""
        async with context.database.transaction() as db:
            user = await db.get(User, self.user_id)
            owner = await db.scalar(select(User.id).where(User.email == self.email))
            if user is None or not user.is_active or owner not in (None, user.id):
                log.info("email_link_skipped")
                return
            token = await create_email_token(db, self.purpose, self.email, user)
        await _send_link(context.settings, self.purpose, self.email, token)


async def _send_link(
    settings: Settings, purpose: EmailPurpose, email: Email, token: RawToken
) -> None:
    link = f"{settings.frontend_url}/{purpose.value.replace('_', '-')}#token={token}"
    try:
        message = render_message(settings, purpose, email, {"link": link})
        await send(settings, message)
    except Rejected as error:
        log.warning("mail_rejected", template=purpose, reason=str(error))
    else:
        log.info("mail_sent", template=purpose)


async def create_email_token(
    db: AsyncSession, purpose: EmailPurpose, email: Email, user: User | None
) -> RawToken:
    """Return a new token, and invalidate the older ones of the same purpose and address."""
    now = func.clock_timestamp()
    await db.execute(
        update(EmailToken)
        .where(
            EmailToken.email == email,
            EmailToken.purpose == purpose,
            EmailToken.used_at.is_(None),
        )
        .values(used_at=now),
        execution_options={"synchronize_session": False},
    )
    token = generate_refresh_token()
    await db.execute(
        insert(EmailToken).values(
            purpose=purpose,
            email=email,
            user_id=user.id if user else None,
            token_hash=hash_refresh_token(token),
            expires_at=now + LIFETIMES[purpose],
        )
    )
    return token


async def request_link(resources: Resources, email: Email, address: str | None) -> None:
    """Send a link to an address, or nothing; the caller cannot tell which.

    Raise `MailNotConfigured` and `TooManyAttempts`.
    """
    settings: Settings = resources.settings
    if not settings.can_send_mail:
        raise MailNotConfigured
    limits = email_link_limits(email, address)
    database, limiter = resources.database, resources.rate_limiter
    async with database.lock_slot(), database.reads.connect() as connection:
        await limiter.check(connection, limits)
    async with database.transaction() as db:
        await limiter.hit(db, limits)
        await enqueue(db, SendLink(email=email))
