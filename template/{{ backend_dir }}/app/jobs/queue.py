"""The job queue: enqueueing a job, and what is in the queue."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from pgqueuer.adapters.persistence.queries import Queries
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.db.job_queue import SCHEMA, queue_queries
from app.jobs.job import Job


async def enqueue(
    db: AsyncSession | AsyncConnection,
    job: Job,
    *,
    dedupe_key: str | None = None,
    delay: timedelta | None = None,
) -> bool:
    """Add a job to the queue, in the caller's transaction: it runs only if that is committed.

    dedupe_key: while a job with the same key waits or runs, no other one is added.
    delay: how long the job waits at least.

    Return whether the job was added.
    """
    connection = await db.connection() if isinstance(db, AsyncSession) else db
    return await enqueue_with(queue_queries(connection), job, dedupe_key=dedupe_key, delay=delay)


async def enqueue_with(
    queries: Queries,
    job: Job,
    *,
    dedupe_key: str | None = None,
    delay: timedelta | None = None,
) -> bool:
    """Add a job to the queue with PgQueuer's queries. See `enqueue`."""
    added = await queries.enqueue(
        type(job).__name__,
        job.model_dump_json().encode(),
        execute_after=delay,
        dedupe_key=dedupe_key,
        on_conflict="skip",
    )
    return added != [None]


@dataclass(frozen=True)
class Backlog:
    """What is in the queue.

    waiting: the number of jobs that could run now. oldest_seconds: how long the oldest of them has
    waited. dead_letters: the number of jobs that have failed too often.
    """

    waiting: int
    oldest_seconds: float
    dead_letters: int


BACKLOG = text(
    f"""
    SELECT
        count(*) FILTER (WHERE status = 'queued' AND execute_after <= clock_timestamp()) AS waiting,
        coalesce(extract(epoch FROM max(clock_timestamp() - execute_after)
            FILTER (WHERE status = 'queued' AND execute_after <= clock_timestamp())), 0)
            AS oldest_seconds,
        count(*) FILTER (WHERE status = 'failed') AS dead_letters
    FROM {SCHEMA}.pgqueuer
    """  # noqa: S608 - only from our own name
)


DEAD_LETTERS = text(f"SELECT id FROM {SCHEMA}.pgqueuer WHERE status = 'failed' ORDER BY id")  # noqa: S608


async def read_backlog(connection: AsyncConnection) -> Backlog:
    """Return what is in the queue."""
    row = (await connection.execute(BACKLOG)).one()
    return Backlog(row.waiting, float(row.oldest_seconds), row.dead_letters)


async def requeue_dead_letters(connection: AsyncConnection) -> int:
    """Let all dead letters run again, as if they had never failed. Return how many there are.

    A dead letter stays if a job with the same key waits or runs.
    """
    queue = queue_queries(connection)
    count = 0
    for job_id in (await connection.scalars(DEAD_LETTERS)).all():
        with suppress(IntegrityError):
            async with connection.begin_nested():
                await queue.requeue_jobs([job_id])
                count += 1
    return count
