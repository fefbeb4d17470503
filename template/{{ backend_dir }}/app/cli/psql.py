"""`psql`: PostgreSQL's own client, connected to the database of the settings."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from app.cli.database import prepare
from app.cli.errors import CommandError
from app.db.embedded import find_program


def psql(arguments: Sequence[str]) -> int:
    """Run psql with these arguments; return its exit code."""
    settings = prepare()
    program = shutil.which("psql") or find_program("psql")
    if program is None:
        raise CommandError(
            "There is no psql here: install PostgreSQL's client, or the development dependencies."
        )
    url, password = split_password(settings.database_url.get_secret_value())
    # Every user of the machine can read a command line, but not another user's environment.
    environment = os.environ | ({"PGPASSWORD": password} if password else {})
    with subprocess.Popen(  # noqa: S603 (it runs no shell)
        [program, f"--dbname={url}", *arguments], env=environment
    ) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # psql cancels its query


def split_password(url: str) -> tuple[str, str | None]:
    """Return a database URL for libpq without its password, and the password."""
    parts = urlsplit(url.strip())
    login, at, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    # As in `database_url.py`: the system's authorities, unless the URL names others.
    if query.get("sslmode") == "verify-full":
        query.setdefault("sslrootcert", "system")
    password = query.pop("password", "") or unquote(password)
    # `urlunsplit` would leave out the // of a URL without a host.
    shown = f"postgresql://{user}{at}{hosts}{parts.path}"
    return f"{shown}?{urlencode(query)}" if query else shown, password or None
