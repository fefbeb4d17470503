"""An SMTP server that cannot be reached for a while."""

import os
import time
from pathlib import Path

from tests.real.mail_server import mail_server_of
from tests.support.client import Browser
from tests.support.production import Site
from tests.support.servers import free_port, wait_until

MESSAGES = 50
OUTAGE_SECONDS = int(os.environ.get("MAIL_OUTAGE_SECONDS", "15"))
# A job that has failed for this long waits for as long before its next attempt.
WAIT_SECONDS = 300 + 2 * OUTAGE_SECONDS


def test_no_message_is_lost_while_the_smtp_server_is_away(site: Site, tmp_path: Path) -> None:
    port = free_port()
    recipients = [f"user{number}@example.com" for number in range(MESSAGES)]
    settings = {
        "SMTP_URL": f"smtp://127.0.0.1:{port}",
        "MAIL_FROM": "no-reply@example.com",
        "FRONTEND_URL": "https://app.example.com",
        "SIGNUP_MODE": "email",
        "LOGIN_THROTTLE_ENABLED": "false",
    }
    with site.serve(**settings) as server:
        server.wait_until_ready()
        for email in recipients:
            response = Browser(server.port).post_json("/api/v1/auth/email-link", {"email": email})
            assert response.status == 202
        time.sleep(OUTAGE_SECONDS)
        assert server.responds("/health/ready", 200)
        with mail_server_of(site.project, tmp_path, port) as mail:
            wait_until(lambda: all(map(mail.messages_to, recipients)), server.output, WAIT_SECONDS)
