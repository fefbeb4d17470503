"""Mail over TLS: the certificate is verified, and no password is sent without TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosmtplib
import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from app.core.settings import ExplicitSettings
from app.mail.message import render_message
from app.mail.sending import check_server, send
from tests.conftest import SECRET

VALUES = {"email": "ada@example.com", "time": "2026-01-01 12:00 UTC"}


class Handler:
    """Counts the messages."""

    def __init__(self) -> None:
        self.count = 0

    async def handle_DATA(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        """Accept the message."""
        self.count += 1
        return "250 OK"


def authenticate(
    _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object
) -> AuthResult:
    """Accept the user `ada@example.com` with the password `p@ss`."""
    assert isinstance(data, LoginPassword)
    right = (data.login, data.password) == (b"ada@example.com", b"p@ss")
    return AuthResult(success=right, handled=False)  # the server responds


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Trust the authority."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """Return the TLS context of a server with a certificate for a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@asynccontextmanager
async def serving(
    handler: Handler, *, start_tls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Run a server, and yield its port."""
    loop = asyncio.get_running_loop()

    def make() -> SMTP:
        return SMTP(
            handler,
            loop=loop,
            tls_context=start_tls,
            require_starttls=start_tls is not None,
            auth_require_tls=start_tls is not None,
            authenticator=authenticate,
        )

    server = await loop.create_server(make, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def settings_for_mail(url: str) -> ExplicitSettings:
    """Return settings that send to a server."""
    return ExplicitSettings(
        environment="test",
        database_url="postgresql://127.0.0.1/x",
        jwt_secret=SECRET,
        smtp_url=url,
        mail_from="no-reply@example.com",
    )


async def deliver(url: str) -> None:
    """Check the server, and send a message."""
    settings = settings_for_mail(url)
    assert settings.smtp is not None
    await check_server(settings.smtp)
    await send(settings, render_message(settings, "password_changed", "ada@example.com", VALUES))


@pytest.mark.usefixtures("trusted")
async def test_message_is_sent_over_tls(authority: trustme.CA) -> None:
    handler = Handler()
    context = server_context(authority, "localhost")
    async with serving(handler, start_tls=context) as port:
        await deliver(f"smtp://ada%40example.com:p%40ss@localhost:{port}?starttls=always")
    async with serving(handler, tls=context) as port:
        await deliver(f"smtps://localhost:{port}")
    assert handler.count == 2


@pytest.mark.usefixtures("trusted")
async def test_wrong_password_is_an_error(authority: trustme.CA) -> None:
    async with serving(Handler(), start_tls=server_context(authority, "localhost")) as port:
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await deliver(f"smtp://ada%40example.com:wrong@localhost:{port}?starttls=always")


async def test_untrusted_certificate_is_an_error(authority: trustme.CA) -> None:
    handler = Handler()
    context = server_context(authority, "localhost")
    async with serving(handler, start_tls=context) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await deliver(f"smtp://ada%40example.com:p%40ss@localhost:{port}?starttls=always")
    assert handler.count == 0


@pytest.mark.usefixtures("trusted")
async def test_certificate_for_another_name_is_an_error(authority: trustme.CA) -> None:
    handler = Handler()
    async with serving(handler, tls=server_context(authority, "mail.example.com")) as port:
        with pytest.raises((aiosmtplib.SMTPConnectError, ssl.SSLError)):
            await deliver(f"smtps://localhost:{port}")
    assert handler.count == 0


async def test_server_without_tls_receives_no_password() -> None:
    handler = Handler()
    async with serving(handler) as port:
        with pytest.raises(aiosmtplib.SMTPException, match="STARTTLS"):
            await deliver(f"smtp://ada%40example.com:p%40ss@localhost:{port}?starttls=always")
    assert handler.count == 0


async def test_server_that_does_not_respond_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.mail.sending.TIMEOUT_SECONDS", 0.5)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(aiosmtplib.SMTPTimeoutError):
            await deliver(f"smtp://127.0.0.1:{port}")
