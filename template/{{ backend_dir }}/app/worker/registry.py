"""The jobs of this project, and their schedule. A worker runs only what is here."""

from typing import Final

from app.jobs.job import Job
from app.mail.job import SendMail
from app.services.email_links import SendAddressLink, SendLink
from app.services.purging import Purge

JOBS: Final[tuple[type[Job], ...]] = (
    Purge,
    SendAddressLink,
    SendLink,
    SendMail,
)  # fmt: skip

# Cron expressions, in UTC: minute, hour, day of the month, month, day of the week.
SCHEDULE: Final[tuple[tuple[str, Job], ...]] = (
    ("17 3 * * *", Purge()),
)  # fmt: skip
