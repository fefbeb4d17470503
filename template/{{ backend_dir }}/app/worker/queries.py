"""PgQueuer's queries, with what a worker needs differently."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.adapters.persistence.query_helpers import cell
from pgqueuer.domain.models import Job, TracebackRecord
from pgqueuer.domain.types import JobId, QueueEntrypoint

from app.db.job_queue import SCHEMA

log = structlog.stdlib.get_logger(__name__)

FORGET_ATTEMPT: Final = f"UPDATE {SCHEMA}.pgqueuer SET attempts = attempts - 1 WHERE id = $1"  # noqa: S608
# A worker that is killed adds no attempt, but PgQueuer's log has an entry for each start.
STARTS: Final = f"""
SELECT count(*) AS starts FROM {SCHEMA}.pgqueuer_log
WHERE job_id = $1 AND status = 'picked' AND id > coalesce(
    (SELECT max(id) FROM {SCHEMA}.pgqueuer_log WHERE job_id = $1 AND status = 'queued'), 0
)
"""  # noqa: S608


@dataclass
class WorkerQueries(Queries):
    """The queries of one worker.

    only_due: whether delayed jobs count as waiting; a worker that ends when none waits ignores
        them. interrupted: the jobs that go back to the queue because the worker stops, which is no
        failed attempt.
    """

    only_due: bool = False
    interrupted: set[JobId] = field(default_factory=set)

    async def queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """Return how many jobs wait."""
        if self.only_due:
            return await self.eligible_queued_work(entrypoints)
        return await super().queued_work(entrypoints)

    async def retry_job(
        self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None
    ) -> None:
        """Let a job run again. If this fails, PgQueuer would make it a dead letter.

        The job then still belongs to this worker, and another one repeats it after `HEARTBEAT`.
        """
        try:
            await super().retry_job(job, delay, traceback_record)
            if job.id in self.interrupted:
                await self.driver.execute(FORGET_ATTEMPT, job.id)
        except Exception:
            log.warning("job_not_returned", job_id=job.id, exc_info=True)

    async def failures(self, job: Job) -> int:
        """Return how often a job has failed, including the workers that it has killed."""
        rows = await self.driver.fetch(STARTS, job.id)
        return job.attempts + max(cell(rows[0], "starts", int) - 1, 0)
