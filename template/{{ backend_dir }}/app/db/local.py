"""Which database a developer's commands work on when nobody said."""

import os

from dotenv import dotenv_values

from app.core.settings import PROJECT_SLUG
from app.db import embedded


def use_embedded_database() -> bool:
    """Where `DATABASE_URL` is unset, start the embedded Postgres and set it for this process.

    Gives whether it did. Raises `EmbeddedPostgresError`.
    """
    if read_variable("DATABASE_URL"):
        return False
    os.environ["DATABASE_URL"] = embedded.start(PROJECT_SLUG.replace("-", "_"))
    return True


def use_local_database() -> None:
    """On a developer's machine, work on the database that `dev` works on."""
    if read_variable("ENVIRONMENT") == "local":
        use_embedded_database()


def read_variable(name: str) -> str | None:
    """Give a variable of the environment or of `.env`; None when it is unset or empty."""
    try:
        return os.environ.get(name) or dotenv_values(".env").get(name) or None
    except UnicodeDecodeError:
        return None  # the settings say what is wrong with the file
