"""The database that a developer's commands use if `DATABASE_URL` is not set."""

import os
import secrets
import sys

from dotenv import dotenv_values

from app.core.settings import PROJECT_SLUG
from app.core.startup import ENV, EXAMPLE, is_fresh_checkout
from app.db import embedded


def use_embedded_database() -> bool:
    """If `DATABASE_URL` is not set, start the embedded Postgres, and set it for this process.

    Return whether it was started. Raise `EmbeddedPostgresError`.
    """
    if read_variable("DATABASE_URL"):
        return False
    os.environ["DATABASE_URL"] = embedded.start(PROJECT_SLUG.replace("-", "_"))
    return True


def use_local_database() -> None:
    """On a developer's machine, use the same database as `dev`."""
    if is_fresh_checkout() and embedded.is_installed():
        _use_example()
    if read_variable("ENVIRONMENT") == "local":
        use_embedded_database()


def _use_example() -> None:
    """Use the settings that `dev` would write to `.env`, for this process only.

    Write no file, so that `serve` never starts with them.
    """
    sys.stderr.write(f"There is no {ENV} here: using the settings of {EXAMPLE}, as dev does.\n")
    example = dotenv_values(EXAMPLE) | {"JWT_SECRET": secrets.token_urlsafe(48)}
    for name, value in example.items():
        if value and not os.environ.get(name):
            os.environ[name] = value


def read_variable(name: str) -> str | None:
    """Return a variable of the environment or of `.env`; None if it is not set or empty."""
    try:
        return os.environ.get(name) or dotenv_values(ENV).get(name) or None
    except (UnicodeDecodeError, OSError):
        return None  # `load_settings` reports what is wrong with the file
