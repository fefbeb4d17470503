"""`dev`: starts everything that a developer needs, and stops it again."""

import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Final

import uvicorn
from alembic.util import CommandError as AlembicError

from app.cli.database import warn_of_disagreement
from app.cli.errors import CommandError
from app.cli.serve import MAX_MESSAGE_BYTES, check_port
from app.core.settings import Settings
from app.core.startup import (
    ENV,
    EXAMPLE,
    ConfigurationError,
    load_or_exit,
    load_settings,
    misspelled_names,
)
from app.db import revisions
from app.db.embedded import EmbeddedPostgresError
from app.db.local import read_variable, use_embedded_database
from app.db.session import DatabaseUnavailable

APP: Final = Path(__file__).parents[1]
# A request that does not end, such as a stream, would delay every reload and the shutdown.
DRAIN_SECONDS: Final = 1


def dev() -> None:
    """Create `.env`, start the embedded Postgres, migrate, and serve with reload until Ctrl-C."""
    _refuse_deployment(read_variable("ENVIRONMENT"))  # before anything is written or started
    # Exit normally, also when the terminal is closed, so that Postgres stops too.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(0))
    if ENV.is_dir():
        raise CommandError(f"{ENV} is a directory; remove it and start dev again.")
    if not ENV.exists():
        _write_env()
    embedded = use_embedded_database()
    settings = load_or_exit()
    _refuse_deployment(settings.environment)  # if it is not set, it is production
    check_port(settings.host, settings.port)
    _migrate(settings)
    # Not 127.0.0.1, which is a different site for a frontend on localhost.
    url = f"http://localhost:{settings.port}"
    print(f"\n  API        {url}/api/v1\n  Docs       {url}/docs\n  Health     {url}/health/ready")
    print(f"  Database   {'embedded Postgres, data in .postgres' if embedded else 'DATABASE_URL'}")
    print("\n  Ctrl-C stops all of it.\n", flush=True)
    _serve(settings, embedded=embedded)


def _migrate(settings: Settings) -> None:
    for line in misspelled_names():
        print(line, file=sys.stderr)
    revisions.migrate(settings)
    warn_of_disagreement(settings)


def _serve(settings: Settings, *, embedded: bool) -> None:
    from app.cli.reloader import Reloader  # it loads slowly, and only `dev` needs it

    def accept_env() -> bool:
        nonlocal embedded
        try:
            if embedded:
                os.environ.pop("DATABASE_URL", None)  # it would override the value in .env
            embedded = use_embedded_database()
            _take(settings, load_settings())
        except (
            AlembicError,
            CommandError,
            ConfigurationError,
            DatabaseUnavailable,
            EmbeddedPostgresError,
        ) as error:
            print(f"{error}\n{ENV} is not used; the server goes on as before.", file=sys.stderr)
            return False
        return True

    config = uvicorn.Config(
        "app.main:app",
        host=settings.host,
        port=settings.port,
        reload=True,
        reload_dirs=[str(APP)],
        log_config=None,
        access_log=False,
        ws_max_size=MAX_MESSAGE_BYTES,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    Reloader(config, config.bind_socket(), accept_env).run()


def _take(old: Settings, new: Settings) -> None:
    """Migrate the database of changed settings, and report changes that need a restart."""
    _refuse_deployment(new.environment)
    _migrate(new)
    if (old.host, old.port) != (new.host, new.port):
        print("Start dev again to use the new HOST and PORT.", file=sys.stderr)


def _refuse_deployment(environment: str | None) -> None:
    # `dev` must not migrate the database of a deployment.
    if environment in ("staging", "production"):
        raise ConfigurationError(
            f"ENVIRONMENT is {environment}, and dev is for a developer's machine; "
            "set ENVIRONMENT=local, or use serve"
        )


def _write_env() -> None:
    if not EXAMPLE.exists():
        raise CommandError(f"There is no {EXAMPLE} here: run this in the project's folder.")
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    secret = f"JWT_SECRET={secrets.token_urlsafe(48)}"
    text = "\n".join(secret if line.startswith("JWT_SECRET=") else line for line in lines)
    ENV.touch(mode=0o600)
    ENV.write_text(f"{text}\n", encoding="utf-8")
    print("Wrote .env, with a fresh JWT_SECRET.")
