"""Loading the settings at the start of a process, with messages about what is wrong."""

import multiprocessing
import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import structlog
from dotenv import dotenv_values
from pydantic import ValidationError

from app.core.logging import configure_logging
from app.core.security import BrokenPasslib, PasswordHasher
from app.core.settings import MAKE_A_SECRET, Settings

log = structlog.stdlib.get_logger(__name__)

CONFIGURATION_ERROR: Final = 2
# The exit code of Uvicorn's own workers that cannot start. Uvicorn then stops and does not retry.
WORKER_STARTUP_FAILURE: Final = 3

ENV: Final = Path(".env")
EXAMPLE: Final = Path("env.example")

DEPRECATED_SIGNUP: Final = "set SIGNUP_MODE=open instead of SIGNUP_ENABLED=true"

HINTS: Final = {
    "DATABASE_URL": "set it to the URL that your Postgres host shows, postgresql://…",
    "JWT_SECRET": f"make one with: {MAKE_A_SECRET}",
}


class ConfigurationError(Exception):
    """The settings are wrong. The message has one line per problem, which names the variable."""


def load_settings() -> Settings:
    """Return the settings from the environment and `.env`. Raise `ConfigurationError`."""
    try:
        return Settings()
    except UnicodeDecodeError:
        raise ConfigurationError(".env is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ConfigurationError(
            f".env can't be read ({error.strerror}); change its owner or its permissions"
        ) from None
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
        if any(problem["type"] == "missing" for problem in error.errors()):
            lines += _explain_env()
        raise ConfigurationError("\n".join([*lines, *misspelled_names()])) from None


def is_fresh_checkout() -> bool:
    """Return whether this is a developer's checkout that has no `.env` yet.

    The image has no `env.example`, and a deployment sets at least one of these variables.
    """
    names = ("ENVIRONMENT", "DATABASE_URL", "MIGRATION_DATABASE_URL", "JWT_SECRET")
    return EXAMPLE.is_file() and not ENV.exists() and not any(map(os.environ.get, names))


def misspelled_names() -> list[str]:
    """Return a line for each name in `.env` that is not a setting but resembles one."""
    settings = [name.upper() for name in Settings.model_fields]
    lines = []
    for name in dotenv_values(ENV):
        # The tests read TEST_DATABASE_URL.
        if name.upper() in (*settings, "TEST_DATABASE_URL"):
            continue
        if matches := get_close_matches(name.upper(), settings, n=1, cutoff=0.8):
            lines.append(f"{name} in .env is not a setting; did you mean {matches[0]}?")
    return lines


def _explain_env() -> list[str]:
    """Return lines that tell a developer about `.env` when a setting is missing."""
    if ENV.is_dir():
        return [".env is a directory; remove it and run make dev (python -m app dev)"]
    if EXAMPLE.is_file() and not ENV.exists() and not os.environ.get("ENVIRONMENT"):
        return [
            "There is no .env here; on a developer's machine, run make dev (python -m app dev) "
            "once, which writes it"
        ]
    return []


def load_or_exit() -> Settings:
    """Return the settings and configure logging, or print what is wrong and exit."""
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
    if settings.signup_enabled:
        log.warning("signup_enabled", note=DEPRECATED_SIGNUP)
    return settings
