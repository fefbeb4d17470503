"""Database URLs, as hosting providers show them, for the application and for Alembic."""

import re
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

SCHEMES: Final = ("postgres", "postgresql", "postgresql+asyncpg")
TLS_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# Parameters of libpq (PostgreSQL documentation, 32.1.2) that asyncpg reads from the URL itself.
UNDERSTOOD_BY_ASYNCPG: Final = frozenset(
    {
        "application_name",
        "dbname",
        "host",
        "options",
        "password",
        "port",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
        "user",
    }
)
NAME: Final = re.compile(r"[a-z_]{1,40}")
# Parameters of libpq that asyncpg does not read; this module handles them.
ANSWERED_HERE: Final = frozenset({"channel_binding", "connect_timeout"})


@dataclass(frozen=True)
class DatabaseAddress:
    """Where a database is, and how to connect to it.

    dsn: a URL that asyncpg understands, including the password.
    tls: the context that verifies the server; None if the URL requires no verification (asyncpg
        then follows `sslmode` itself).
    connect_timeout: in seconds; None if the URL does not set it.
    pooled: the URL leads to a transaction pooler, so prepared statements must not be cached.
    note: how the connection differs from what the URL says, for the log.
    place: the setting and the host, for error messages. It contains no secret.
    """

    dsn: str = field(repr=False)
    tls: ssl.SSLContext | None = None
    connect_timeout: float | None = None
    pooled: bool = False
    note: str | None = None
    place: str = "DATABASE_URL"


def parse_database_url(
    url: str, *, pooler: bool | None = None, setting: str = "DATABASE_URL"
) -> DatabaseAddress:
    """Read a Postgres URL.

    url: `postgres://`, `postgresql://` or `postgresql+asyncpg://`, with libpq's parameters.
    pooler: whether the URL leads to a transaction pooler; None to decide by the host name (Neon's
        contains `-pooler`).
    setting: the name of the variable that holds the URL, for error messages.

    Raise `ValueError` if the URL is not valid. The message is for the person who set the variable,
    and contains no secret of the URL.
    """
    try:
        parts = urlsplit(url.strip())
        query = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
    except ValueError:
        raise ValueError("is not a URL; expected postgresql://user:password@host/name") from None
    if parts.scheme not in SCHEMES:
        raise ValueError("must begin with postgresql:// or postgres://")
    hosts = parts.netloc.rpartition("@")[2]
    _check_hosts(hosts)
    if parts.fragment:
        raise ValueError("contains a #; percent-encode special characters of the password (%23)")

    if unknown := sorted(query.keys() - UNDERSTOOD_BY_ASYNCPG - ANSWERED_HERE):
        if "@" not in parts.netloc and "@" in parts.query:
            raise ValueError("has a ? in its password; percent-encode it (%3F)")
        known = ", ".join(sorted(UNDERSTOOD_BY_ASYNCPG | ANSWERED_HERE))
        name = unknown[0] if NAME.fullmatch(unknown[0]) else "(invalid name)"
        raise ValueError(f"has an unknown parameter {name!r}; known are {known}")

    place = f"{setting} ({_shown_hosts(parts, query)})"
    timeout = _connect_timeout(query.pop("connect_timeout", ""))
    note = None
    if query.pop("channel_binding", "") == "require":
        # asyncpg does not support channel binding. Only a verified certificate protects instead
        # against an attacker in the middle.
        query["sslmode"] = "verify-full"
        note = "channel_binding=require is not supported by asyncpg: using sslmode=verify-full"
    tls = _tls_context(query)
    return DatabaseAddress(
        dsn=parts._replace(scheme="postgresql", query=urlencode(query)).geturl(),
        tls=tls,
        connect_timeout=timeout,
        pooled="-pooler" in hosts if pooler is None else pooler,
        note=note,
        place=place,
    )


def _check_hosts(hosts: str) -> None:
    """Raise `ValueError` for a port that is not a number.

    Such a port is usually a part of the password. A URL may have several hosts:
    `one:5432,two:5432`.
    """
    for host in hosts.split(","):
        port = host.rpartition("]")[2].partition(":")[2] if ":" in host else ""
        if port and not (port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(
                "has a port that is not a number; if the password contains / ? # @ or :, "
                "percent-encode them"
            )


def _shown_hosts(parts: SplitResult, query: dict[str, str]) -> str:
    """Return the host and port for an error message, never a part of the password."""
    hosts = parts.netloc.rpartition("@")[2]
    if "@" in parts.path:  # a / in the password, whose first part looks like the port
        return parts.hostname or "localhost"
    if not hosts:
        hosts = query.get("host", "localhost")
        hosts += f":{query['port']}" if "port" in query else ""
    return hosts


def _connect_timeout(text: str) -> float | None:
    if not text:
        return None
    if not text.isdecimal():
        raise ValueError("has a connect_timeout that is not a whole number of seconds")
    return float(text) or None


def _tls_context(query: dict[str, str]) -> ssl.SSLContext | None:
    """Return the TLS context if the server must be verified, and remove its parameters.

    Unlike in libpq, `verify-full` without `sslrootcert` means the system's authorities, because
    managed databases need these.
    """
    mode = query.get("sslmode", "")
    if mode and mode not in TLS_MODES:
        raise ValueError(f"has an unknown sslmode; known are {', '.join(TLS_MODES)}")
    authorities = query.get("sslrootcert")
    if authorities == "system":
        mode = "verify-full"  # libpq: "system" allows nothing weaker
    if mode not in ("verify-ca", "verify-full"):
        return None
    query.pop("sslmode", None)
    query.pop("sslrootcert", None)
    certificate, key = query.pop("sslcert", None), query.pop("sslkey", None)
    try:
        context = ssl.create_default_context(
            cafile=None if authorities in (None, "system") else authorities
        )
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        raise ValueError("names a certificate file that can't be read") from None
    context.check_hostname = mode == "verify-full"
    return context
