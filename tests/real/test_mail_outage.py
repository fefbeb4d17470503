"""An SMTP server that cannot be reached for a while."""

import os
import time
from email import message_from_bytes

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.client import Browser
from tests.support.production import Site
from tests.support.servers import free_port, wait_until

MESSAGES = 50
OUTAGE_SECONDS = int(os.environ.get("MAIL_OUTAGE_SECONDS", "15"))
# A job that has failed for this long waits for as long before its next attempt.
WAIT_SECONDS = 300 + 2 * OUTAGE_SECONDS


class Recipients:
    """The handler of an SMTP server, which keeps the recipients of all messages."""

    def __init__(self) -> None:
        self.found: list[str] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Accept a message."""
        assert isinstance(envelope.content, bytes)
        self.found.append(message_from_bytes(envelope.content)["To"])
        return "250 OK"


def test_no_message_is_lost_while_the_smtp_server_is_away(site: Site) -> None:
    port = free_port()
    recipients = Recipients()
    expected = {f"user{number}@example.com" for number in range(MESSAGES)}
    settings = {
        "SMTP_URL": f"smtp://127.0.0.1:{port}",
        "MAIL_FROM": "no-reply@example.com",
        "SIGNUP_MODE": "email",
        "LOGIN_THROTTLE_ENABLED": "false",
    }
    with site.serve(**settings) as server:
        server.wait_until_ready()
        for email in expected:
            response = Browser(server.port).post_json("/api/v1/auth/email-link", {"email": email})
            assert response.status == 202
        time.sleep(OUTAGE_SECONDS)
        assert server.responds("/health/ready", 200)
        controller = Controller(recipients, hostname="127.0.0.1", port=port)
        controller.start()
        try:
            wait_until(lambda: set(recipients.found) >= expected, server.output, WAIT_SECONDS)
        finally:
            controller.stop()
        assert set(recipients.found) == expected
