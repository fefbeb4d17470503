"""An SMTP server for tests."""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """The handler of an SMTP server. It keeps messages, and responds as a test wants."""

    def __init__(self) -> None:
        self.url = ""
        self.clear()

    def clear(self) -> None:
        """Forget all messages, and accept each one again."""
        self.messages: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.responses: list[str] = []
        self.refusal: str | None = None

    def newest_token(self, recipient: str) -> str:
        """Return the token of the link in the newest message to a recipient."""
        message = [message for message in self.messages if message["To"] == recipient][-1]
        text = message.get_body(("plain",))
        assert text is not None
        found = re.search(r"#token=([\w-]{43})\b", text.get_content())
        assert found is not None
        return found[1]

    async def handle_RCPT(  # noqa: N802
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Accept a recipient, or refuse it."""
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Respond with the next response, or accept the message."""
        if self.responses:
            return self.responses.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        self.recipients += envelope.rcpt_tos
        self.messages.append(message_from_bytes(content, policy=policy.default))
        return "250 OK"
