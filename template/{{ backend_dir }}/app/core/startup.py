"""What every process does first: check the environment, and say what is wrong with it."""

import multiprocessing
import sys

from app.core.logging import configure_logging
from app.core.security import BrokenPasslib, PasswordHasher
from app.core.settings import ConfigurationError, Settings, load_settings

CONFIGURATION_ERROR = 2
# What Uvicorn's own workers exit with when they can't start: it then stops, and does not try again.
WORKER_STARTUP_FAILURE = 3


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
    return settings
