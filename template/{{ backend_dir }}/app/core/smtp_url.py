"""The address of the SMTP server, from one URL."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

# The default ports: 587 for submission with STARTTLS (RFC 6409), 465 with TLS from the start
# (RFC 8314).
PORTS: Final = {"smtp": 587, "smtps": 465}
LOCAL: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class SmtpAddress:
    """Where the SMTP server is, and how to sign in there.

    tls: whether the connection uses TLS from the start. start_tls: whether it must switch to TLS.
    """

    host: str
    port: int
    tls: bool
    start_tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_smtp_url(url: str) -> SmtpAddress:
    """Read an SMTP URL.

    url: `smtps://user:password@host:465`, or `smtp://user:password@host:587`. With `smtp`, the
        connection must switch to TLS (STARTTLS), unless the URL ends in `?starttls=never` or the
        server is on this machine.

    Raise `ValueError` if the URL is not valid. The message contains no secret of the URL.
    """
    try:
        parts = urlsplit(url.strip())
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        port = parts.port
    except ValueError:
        raise ValueError(
            "is not a URL; expected smtp://user:password@host:587, with special characters of the "
            "password percent-encoded"
        ) from None
    if parts.scheme not in PORTS:
        raise ValueError("must begin with smtp:// or smtps://")
    if not parts.hostname or parts.path.strip("/") or parts.fragment:
        raise ValueError(
            "needs a host; if the user or the password contains / ? # @ or :, percent-encode them"
        )
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError("has a host that is not a valid name") from None
    if port == 0:
        raise ValueError("has the port 0; expected 587 or 465")
    wanted = query.pop("starttls", "never" if parts.hostname in LOCAL else "always")
    if query or wanted not in ("always", "never"):
        raise ValueError("may have one parameter only, starttls=always or starttls=never")
    if bool(parts.username) != bool(parts.password):
        raise ValueError("needs both a user and a password, or neither")
    tls = parts.scheme == "smtps"
    return SmtpAddress(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        tls=tls,
        start_tls=not tls and wanted == "always",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )
