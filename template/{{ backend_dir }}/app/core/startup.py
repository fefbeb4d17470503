"""What every process does first: check the environment, and say what is wrong with it."""

import multiprocessing
import sys
from typing import Final

import structlog
from pydantic import ValidationError

from app.core.logging import configure_logging
from app.core.security import BrokenPasslib, PasswordHasher
from app.core.settings import MAKE_A_SECRET, Settings

log = structlog.stdlib.get_logger(__name__)

CONFIGURATION_ERROR: Final = 2
# What Uvicorn's own workers exit with when they can't start: it then stops, and does not try again.
WORKER_STARTUP_FAILURE: Final = 3

HINTS: Final = {
    "DATABASE_URL": "set it to the URL that your Postgres host shows, postgresql://…",
    "JWT_SECRET": f"make one with: {MAKE_A_SECRET}",
}


class ConfigurationError(Exception):
    """The environment is wrong. Its text: one line per problem, each naming its variable."""


def load_settings() -> Settings:
    """Read the environment and `.env`. Raises `ConfigurationError`."""
    try:
        return Settings()
    except UnicodeDecodeError:
        raise ConfigurationError(".env is not UTF-8 text; save it as UTF-8") from None
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0]).upper()
            if problem["type"] == "missing":
                lines.append(f"{name} is missing; {HINTS.get(name, 'set it')}")
            elif problem["type"] == "value_error" and "ctx" in problem:
                lines.append(f"{name} {problem['ctx']['error']}")
            else:
                lines.append(f"{name} is not valid: {problem['msg']}")
        raise ConfigurationError("\n".join(lines)) from None


def load_or_exit() -> Settings:
    """Read the settings and set up logging, or say what is wrong and end the process."""
    try:
        settings = load_settings()
        PasswordHasher.check_installation()
    except (ConfigurationError, BrokenPasslib) as error:
        sys.stderr.write(f"{error}\n")
        in_worker = multiprocessing.parent_process() is not None
        sys.exit(WORKER_STARTUP_FAILURE if in_worker else CONFIGURATION_ERROR)
    configure_logging(settings)
    if note := settings.database.note:
        log.warning("database_url", note=note)
    return settings
