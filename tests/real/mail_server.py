"""An SMTP server that keeps each message."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from scripts.projects import project_environment, python_of
from tests.support.servers import can_connect, free_port, started, wait_until


@dataclass(frozen=True)
class MailServer:
    """An SMTP server.

    folder: where it keeps the messages, as a Maildir.
    """

    url: str
    folder: Path

    def messages_to(self, recipient: str) -> list[EmailMessage]:
        """Return the messages that an address has received so far."""
        files = (self.folder / "new").iterdir()
        found = [message_from_bytes(it.read_bytes(), policy=policy.default) for it in files]
        return [it for it in found if it["X-RcptTo"] == recipient]

    def message_to(self, recipient: str, subject: str) -> str:
        """Wait for a message whose subject begins with a text, and return its text."""
        found: list[EmailMessage] = []

        def has_arrived() -> bool:
            found[:] = [
                it for it in self.messages_to(recipient) if it["Subject"].startswith(subject)
            ]
            return bool(found)

        wait_until(has_arrived, f"no message to {recipient}: {subject}")
        (message,) = found
        body = message.get_body(("plain",))
        assert body
        return str(body.get_content())

    def link_to(self, recipient: str, subject: str) -> str:
        """Wait for a message whose subject begins with a text, and return the link in it."""
        (link,) = re.findall(r"^https://\S+$", self.message_to(recipient, subject), re.MULTILINE)
        return str(link)


@contextmanager
def mail_server_of(project: Path, folder: Path, port: int | None = None) -> Iterator[MailServer]:
    """Run the SMTP server that is installed in a project for its tests."""
    port = port or free_port()
    box = folder / "messages"
    command: list[str | Path] = [python_of(project), "-m", "aiosmtpd", "--nosetuid"]
    command += ["--listen", f"127.0.0.1:{port}", "--class", "aiosmtpd.handlers.Mailbox", box]
    environment = project_environment(PORT=str(port))
    with started(command, folder, environment, folder / "smtp.log") as server:
        wait_until(lambda: can_connect(port), server.output)
        yield MailServer(f"smtp://127.0.0.1:{port}", box)
