"""The job that sends a message."""

from typing import ClassVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.core.settings import Settings
from app.jobs.job import Job, JobContext
from app.jobs.queue import enqueue
from app.mail.message import render_message, variables_of
from app.mail.sending import Rejected, send

log = structlog.stdlib.get_logger(__name__)


class SendMail(Job):
    """Sends a message from a template.

    If the server cannot be reached or does not accept the message, the job is repeated for a day.
    If the connection is lost at the end, the message may arrive twice.
    """

    max_attempts: ClassVar[int] = 150

    template: str
    recipient: str
    values: dict[str, str]

    async def run(self, context: JobContext) -> None:
        """Send the message. Raise an error if a repetition may help."""
        settings = context.settings
        try:
            message = render_message(settings, self.template, self.recipient, self.values)
            await send(settings, message)
        except Rejected as error:
            log.warning("mail_rejected", template=self.template, reason=str(error))
        else:
            log.info("mail_sent", template=self.template)


async def send_later(
    db: AsyncSession | AsyncConnection,
    settings: Settings,
    recipient: str,
    template: str,
    **values: str,
) -> None:
    """Send a message after the caller's transaction is committed, if mail is configured.

    template: see `render_message`. values: its variables, besides `email` and `time`.
    """
    if not settings.can_send_mail:
        return
    variables = variables_of(recipient, **values)
    await enqueue(db, SendMail(template=template, recipient=recipient, values=variables))
