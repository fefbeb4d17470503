"""Links that are sent by mail.

A request for a link to an address enqueues a job, whatever the address is. The response therefore
takes the same time for each address, and does not tell who has an account.
"""

import uuid
from typing import ClassVar, Final

import structlog
from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.settings import Settings
from app.core.tokens import RawToken
from app.jobs.job import Job, JobContext
from app.jobs.queue import enqueue
from app.mail.message import render_message, variables_of
from app.mail.sending import Rejected, send
from app.models import EmailToken, User
from app.services.email_tokens import EmailPurpose, issue_email_token, reserve_email_token
from app.services.errors import MailNotConfigured, TooManyAttempts
from app.services.rate_limits import email_link_limits
from app.services.resources import Resources
from app.services.sessions.lock import lock_users

log = structlog.stdlib.get_logger(__name__)

# The page of the frontend that a link leads to, and the name of the message's template.
PAGES: Final = {
    EmailPurpose.RESET: "reset",
    EmailPurpose.SIGN_UP: "sign-up",
    EmailPurpose.CHANGE: "email",
}

LOCK_ADDRESS: Final = select(
    func.pg_advisory_xact_lock(func.hashtextextended(bindparam("email"), 0))
)
# A day, as for other messages; see `SendMail`.
MAX_ATTEMPTS: Final = 150


class SendLink(Job):
    """Sends a link to an address, if there is a reason to.

    invited: whether an administrator wants the address to have an account.

    The token is created here and not in the request, so that it is in no payload. A repetition
    sends a new one.
    """

    max_attempts: ClassVar[int] = MAX_ATTEMPTS

    email: Email
    invited: bool = False

    async def run(self, context: JobContext) -> None:
        """Send a reset link to a user, or a sign-up link to an address without a user."""
        settings = context.settings
        async with context.database.transaction() as db:
            user = await self._lock(db)
            if user is not None and user.is_active:
                purpose = EmailPurpose.RESET
            elif user is None and (self.invited or settings.sign_up == "email"):
                purpose = EmailPurpose.SIGN_UP
            else:
                log.info("email_link_skipped")
                return
            row_id = await reserve_email_token(db, purpose, self.email, user.id if user else None)
            token = await issue_email_token(db, row_id, purpose)
        await _send_link(settings, purpose, self.email, token)

    async def _lock(self, db: AsyncSession) -> User | None:
        """Lock the user, or an address without one: of two links to it, the last one is valid."""
        which = User.email == self.email
        user_id = await db.scalar(select(User.id).where(which))
        if user_id is None:
            await db.execute(LOCK_ADDRESS, {"email": self.email})
        else:
            await lock_users(db, [user_id])
        return await db.scalar(select(User).where(which))


class SendAddressLink(Job):
    """Sends a link to the address that a user wants to have or to verify.

    email_token_id: the row that the request has reserved. If the user's password changes before the
        message is sent, the row is invalid, and so nobody who knew the old password gets a link.
    """

    max_attempts: ClassVar[int] = MAX_ATTEMPTS

    email_token_id: uuid.UUID

    async def run(self, context: JobContext) -> None:
        """Send the link, unless the address belongs to another user."""
        async with context.database.transaction() as db:
            reserved = await db.get(EmailToken, self.email_token_id)
            if reserved is None or not await _may_receive(db, reserved):
                log.info("email_link_skipped")
                return
            purpose, email = EmailPurpose(reserved.purpose), Email(reserved.email)
            token = await issue_email_token(db, self.email_token_id, purpose)
        await _send_link(context.settings, purpose, email, token)


async def _may_receive(db: AsyncSession, reserved: EmailToken) -> bool:
    """Return whether the user is active, and no other user has the address."""
    which = or_(User.id == reserved.user_id, User.email == reserved.email)
    users = (await db.scalars(select(User).where(which))).all()
    return [user.id for user in users] == [reserved.user_id] and users[0].is_active


async def _send_link(
    settings: Settings, purpose: EmailPurpose, email: Email, token: RawToken | None
) -> None:
    if token is None:
        log.info("email_link_skipped")
        return
    link = f"{settings.frontend_url}/{PAGES[purpose]}#token={token}"
    try:
        message = render_message(settings, purpose, email, variables_of(email, link=link))
        await send(settings, message)
    except Rejected as error:
        log.warning("mail_rejected", template=purpose, reason=str(error))
    else:
        log.info("mail_sent", template=purpose)


async def request_link(resources: Resources, email: Email, address: str | None) -> None:
    """Send a link to an address, or nothing; the caller cannot tell which.

    address: the client's.

    Raise `MailNotConfigured` and `TooManyAttempts`.
    """
    require_mail(resources.settings)
    limits = email_link_limits(email, address)
    database, limiter = resources.database, resources.rate_limiter
    try:
        async with database.lock_slot(), database.reads.connect() as connection:
            await limiter.check(connection, limits)
        async with database.transaction() as db:
            await limiter.hit(db, limits)
            await enqueue(db, SendLink(email=email))
    except TooManyAttempts:
        log.warning("email_link_throttled", client_address=address)
        raise


async def send_address_link(db: AsyncSession, email: Email, user_id: uuid.UUID) -> None:
    """Send a link to the address that a user wants to have or to verify."""
    row_id = await reserve_email_token(db, EmailPurpose.CHANGE, email, user_id)
    await enqueue(db, SendAddressLink(email_token_id=row_id))


def require_mail(settings: Settings) -> None:
    """Raise `MailNotConfigured` if no message can be sent."""
    if not settings.can_send_mail:
        raise MailNotConfigured
