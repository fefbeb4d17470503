"""`reset`: start over with an empty local database."""

import asyncio
import os
import sys
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

from app.cli.database import prepare_locally
from app.cli.errors import CommandError
from app.core.settings import Settings
from app.db import revisions
from app.db.session import create_migration_engine

# Creating or deleting a database requires a connection to another database.
MAINTENANCE: Final = "postgres"


def reset(*, confirmed: bool) -> None:
    """Delete the local database with all its data, and create it again, empty and migrated."""
    settings = prepare_locally("reset", "local")
    secret, setting = settings.database_url, "DATABASE_URL"
    if settings.migration_database_url:
        secret, setting = settings.migration_database_url, "MIGRATION_DATABASE_URL"
    url = secret.get_secret_value()
    name = local_database_name(url, setting)
    if not confirmed:
        _ask(f"This deletes all data in the database {name}. Continue? [y/N] ")
    asyncio.run(_recreate(settings, url, name))
    revisions.migrate(settings)
    print(f"The database {name} is empty now, and up to date.")


def local_database_name(url: str, setting: str = "DATABASE_URL") -> str:
    """Return the name of the database that a URL leads to.

    setting: the name of the setting with the URL, for the error.

    Raise `CommandError` if the server may be on another machine, or if the database belongs to
    Postgres itself.
    """
    parts = urlsplit(url.strip())
    query = dict(parse_qsl(parts.query))
    hosts = {parts.netloc.rpartition("@")[2], query.get("host", "")} - {""}
    for host in ",".join(hosts or {os.environ.get("PGHOST", "")}).split(","):
        if not _is_local(host):
            raise CommandError(
                f"The database is on {host}, and this command changes only those on this machine."
            )
    names = {unquote(parts.path.strip("/")), query.get("dbname", "")} - {""}
    if len(names) != 1 or names & {MAINTENANCE, "template0", "template1"}:
        raise CommandError(f"{setting} does not name a database of this project's own.")
    return names.pop()


def _is_local(host: str) -> bool:
    """Return whether a host is a socket, a loopback address, or a name without dots."""
    if host.startswith("/"):
        return True
    name = host.partition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return "." not in name or name == "host.docker.internal"


def _ask(question: str) -> None:
    if not sys.stdin or not sys.stdin.isatty():
        raise CommandError("There is no terminal to ask for confirmation; use --yes.")
    try:
        answer = input(question)
    except EOFError:
        print()
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was deleted.")


async def _recreate(settings: Settings, url: str, name: str) -> None:
    parts = urlsplit(url.strip())
    query = {key: value for key, value in parse_qsl(parts.query) if key != "dbname"}
    other = parts._replace(path=f"/{MAINTENANCE}", query=urlencode(query)).geturl()
    engine = create_migration_engine(
        settings.model_copy(update={"migration_database_url": SecretStr(other)})
    )
    try:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            quoted = engine.dialect.identifier_preparer.quote_identifier(name)
            # A running program, such as `dev`, reconnects by itself.
            await connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")
            await connection.exec_driver_sql(f"CREATE DATABASE {quoted}")
    except DBAPIError as error:
        raise CommandError(f"The database {name} cannot be created again: {error.orig}") from None
    finally:
        await engine.dispose()
