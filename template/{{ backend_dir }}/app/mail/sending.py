"""Sending messages: over SMTP, or to a file on a developer's machine."""

import asyncio
import sys
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from textwrap import indent
from typing import Final

import aiosmtplib

from app.core.settings import Settings
from app.core.smtp_url import SmtpAddress

TIMEOUT_SECONDS: Final = 30.0
OUTBOX: Final = Path(".mail")


class SmtpNotConfigured(Exception):
    """`SMTP_URL` is not set, and this is not a developer's machine."""


class RecipientRefused(Exception):
    """The server does not accept the recipient now, but may accept it later."""


class Rejected(Exception):
    """No server will ever accept the recipient, so a repetition is useless."""


async def send(settings: Settings, message: EmailMessage) -> None:
    """Send a message. Return when the server has accepted it.

    On a developer's machine without `SMTP_URL`, print the message, and keep it as a file in
    `.mail/`. Raise `SmtpNotConfigured`, `Rejected`, or another error if a repetition may help.
    """
    if settings.smtp is not None:
        await _send_over_smtp(settings.smtp, message)
    elif settings.environment == "local":
        await asyncio.to_thread(_keep, message)
    else:
        raise SmtpNotConfigured


async def check_server(address: SmtpAddress) -> None:
    """Connect, switch to TLS and sign in, as for a message. Raise what goes wrong."""
    async with _client(address) as client:
        await client.noop()


def _client(address: SmtpAddress) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=address.host,
        port=address.port,
        username=address.username,
        password=address.password,
        use_tls=address.tls,
        start_tls=address.start_tls,
        timeout=TIMEOUT_SECONDS,
    )


async def _send_over_smtp(address: SmtpAddress, message: EmailMessage) -> None:
    async with _client(address) as client:
        try:
            await client.send_message(message)
        except aiosmtplib.SMTPRecipientsRefused as error:
            # Only the codes, because the texts contain the address, which is personal data.
            codes = ", ".join(str(refusal.code) for refusal in error.recipients)
            # A permanent reply (RFC 5321 4.2.1) about the recipient. The other replies are about
            # the sender, a quota or the server, which an operator can change.
            if all(refusal.code >= 500 for refusal in error.recipients):
                raise Rejected(f"the server responded with {codes}") from None
            raise RecipientRefused(f"the server responded with {codes}") from None
        except aiosmtplib.SMTPNotSupported:
            raise Rejected("the address is not ASCII, which the server does not support") from None


def _keep(message: EmailMessage) -> None:
    """Keep a message as a file that mail programs open, and print its text."""
    OUTBOX.mkdir(exist_ok=True)
    file = OUTBOX / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S.%f}.eml"
    file.write_bytes(message.as_bytes())
    body = message.get_body(("plain",))
    sys.stdout.write(
        f"\n  To: {message['To']}\n  Subject: {message['Subject']}\n\n"
        f"{indent(body.get_content().strip() if body else '', '  ')}\n\n  (kept in {file})\n\n"
    )
    sys.stdout.flush()
