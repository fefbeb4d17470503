"""The base class of all jobs."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict

from app.core.settings import Settings
from app.db.session import Database

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 600.0


@dataclass(frozen=True)
class JobContext:
    """What jobs use. Add a field for what your own jobs need."""

    settings: Settings
    database: Database


class Job(BaseModel):
    """A kind of job. Its fields are the payload; `run` does the work.

    The class's name is stored with the payload, so a rename leaves waiting jobs behind.

    max_attempts: how often the job may fail before it becomes a dead letter. With the default, that
        is after about an hour.
    """

    # The log shows validation errors, and a payload may contain secrets.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    max_attempts: ClassVar[int] = 14

    async def run(self, context: JobContext) -> None:
        """Do the work. It can run more than once, so a repetition must do no harm.

        Raise any exception to have the job repeated later.
        """
        raise NotImplementedError


def pause_after(attempts: int) -> timedelta:
    """Return how long a job waits for its next attempt. attempts: how many have failed, from 1."""
    doublings = min(attempts - 1, 20)  # a larger number would overflow
    return timedelta(seconds=min(FIRST_PAUSE_SECONDS * 2.0**doublings, LONGEST_PAUSE_SECONDS))
