"""TLS to the database: the connection follows `sslmode`."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from sqlalchemy import text

from app.core.settings import ExplicitSettings
from app.db.session import Database, DatabaseUnavailable
from tests.conftest import SECRET

SSL_REQUEST_BYTES = 8  # PostgreSQL documentation, 54.2.10


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward all data, and then close the writer."""
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def forward(url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connect a client with the Postgres of a URL, until both have closed."""
    parts, query = urlsplit(url), parse_qs(urlsplit(url).query)
    if "host" in query:
        socket = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        upstream = await asyncio.open_unix_connection(socket)
    else:
        upstream = await asyncio.open_connection(parts.hostname, parts.port)
    await asyncio.gather(
        pipe(reader, upstream[1]), pipe(upstream[0], writer), return_exceptions=True
    )


@asynccontextmanager
async def tls_in_front(url: str, certificate: trustme.LeafCert) -> AsyncIterator[str]:
    """Add TLS to the Postgres of the tests, and yield the URL. It behaves like built-in TLS."""
    parts = urlsplit(url)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(SSL_REQUEST_BYTES)
        writer.write(b"S")
        try:
            await writer.start_tls(context)
        except (ssl.SSLError, ConnectionError):
            writer.close()
            return
        await forward(url, reader, writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        user = parts.netloc.rpartition("@")[0]
        yield f"postgresql://{user}@localhost:{port}{parts.path}"


async def select_one(url: str) -> int:
    """Connect like the application does, and run a query."""
    settings = ExplicitSettings(environment="test", database_url=url, jwt_secret=SECRET)
    database = Database.from_settings(settings)
    try:
        async with database.reads.connect() as connection:
            return int((await connection.execute(text("SELECT 1"))).scalar_one())
    finally:
        await database.close()


async def test_verify_full_accepts_only_a_trusted_certificate_for_the_host(
    test_database: str, tmp_path: Path
) -> None:
    authority = trustme.CA()
    root = tmp_path / "root.crt"
    authority.cert_pem.write_to_path(root)
    verify = f"sslmode=verify-full&sslrootcert={root}"

    async with tls_in_front(test_database, authority.issue_cert("localhost")) as url:
        assert await select_one(f"{url}?{verify}") == 1
    async with tls_in_front(test_database, authority.issue_cert("elsewhere.test")) as url:
        with pytest.raises(DatabaseUnavailable, match="SSLCertVerificationError"):
            await select_one(f"{url}?{verify}")
        assert await select_one(f"{url}?sslmode=verify-ca&sslrootcert={root}") == 1


@pytest.mark.parametrize("query", ["sslmode=verify-full", "channel_binding=require"])
async def test_self_signed_certificate_is_rejected(test_database: str, query: str) -> None:
    async with tls_in_front(test_database, trustme.CA().issue_cert("localhost")) as url:
        with pytest.raises(DatabaseUnavailable, match="SSLCertVerificationError"):
            await select_one(f"{url}?{query}")
        assert await select_one(f"{url}?sslmode=require") == 1
