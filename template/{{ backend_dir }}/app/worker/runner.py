"""Runs the jobs of the queue, and enqueues the scheduled ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

import asyncpg
import structlog
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import CronExpressionEntrypoint, Schedule
from pgqueuer.domain.models import Job as QueuedJob
from pgqueuer.domain.types import QueueExecutionMode
from sqlalchemy.exc import SQLAlchemyError

from app.db.job_queue import query_builders
from app.db.session import DatabaseUnavailable, connect_directly
from app.jobs.job import Job, JobContext, pause_after
from app.jobs.queue import enqueue_with, read_backlog
from app.worker.queries import WorkerQueries
from app.worker.registry import JOBS, SCHEDULE

log = structlog.stdlib.get_logger(__name__)

# Jobs that one worker runs at the same time, and takes from the queue at once.
CONCURRENCY: Final = 20
BATCH: Final = 10
# A job whose worker has not been heard of for this long belongs to another worker.
HEARTBEAT: Final = timedelta(seconds=30)
# How often a worker looks for jobs that no notification announces, such as a job that failed.
POLL: Final = timedelta(seconds=5)
REPORT_SECONDS: Final = 60
# How long running jobs may take when the worker stops. After that, they go back to the queue.
DRAIN_SECONDS: Final = 4
# How long it may take to give them back, and to close the connection.
RETURN_SECONDS: Final = 2
CLOSE_SECONDS: Final = 1
FIRST_PAUSE_SECONDS: Final = 1.0
POOLER_HINT: Final = "set MIGRATION_DATABASE_URL to the URL of Postgres without the pooler"
LONGEST_PAUSE_SECONDS: Final = 30.0


class QueueMissing(Exception):
    """The database has not been migrated since the project has jobs."""


class WorkerKilled(Exception):
    """The job has killed its workers too often, such as by the memory that it uses."""


class DeadLetter(Exception):
    """A job has failed too often. PgQueuer logs and stores this error, and keeps the job."""


@asynccontextmanager
async def worker_beside(context: JobContext) -> AsyncIterator[None]:
    """Run jobs in the background while the context is open, if `JOBS_IN_SERVER` is true."""
    if not context.settings.jobs_in_server:
        yield
        return
    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(context, stop))
    try:
        yield
    finally:
        stop.set()
        await worker


async def run_worker(context: JobContext, stop: asyncio.Event) -> None:
    """Run jobs until `stop` is set, then let the running ones finish.

    If the connection is lost, or anything else goes wrong, connect again after a pause.
    """
    settings = context.settings
    if settings.migration_database.pooled:
        log.error("worker_needs_a_direct_connection", hint=POOLER_HINT)
        return
    failures = 0
    while not stop.is_set():
        try:
            if settings.jobs_poll_seconds:
                await run_waiting_jobs(context, stop)
            else:
                await _connect_and_run(context, stop, QueueExecutionMode.continuous)
            failures = 0
        except Exception as error:
            log.warning("worker_interrupted", reason=str(error) or type(error).__name__)
            failures += 1
        pause = min(FIRST_PAUSE_SECONDS * 2**failures, LONGEST_PAUSE_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause if failures else settings.jobs_poll_seconds or pause):
                await stop.wait()


async def run_waiting_jobs(context: JobContext, stop: asyncio.Event | None = None) -> None:
    """Connect, run jobs until none is waiting, and disconnect.

    A delayed job stays in the queue. So does a job that failed, unless its repetition is due while
    this worker still runs.
    """
    await _connect_and_run(context, stop or asyncio.Event(), QueueExecutionMode.drain)


async def _connect_and_run(
    context: JobContext, stop: asyncio.Event, mode: QueueExecutionMode
) -> None:
    settings = context.settings
    timeout = settings.database_timeout_seconds
    connection = await connect_directly(settings.migration_database, timeout, "worker")
    try:
        await Worker(context, connection).run(stop, mode)
    finally:
        await connection.close(timeout=CLOSE_SECONDS)


class Worker:
    """Runs jobs on one connection."""

    def __init__(self, context: JobContext, connection: asyncpg.Connection) -> None:
        self.context = context
        self.connection = connection
        self.queries = WorkerQueries(AsyncpgDriver(connection), *query_builders())
        self.queuer = PgQueuer(self.queries.driver, queries=self.queries)
        self.tasks = set[asyncio.Task[Any] | None]()  # of the running jobs
        self.stopping = False
        for kind in JOBS:
            run = partial(self._execute, kind)
            self.queuer.entrypoint(kind.__name__, on_failure="hold")(run)
        for expression, job in SCHEDULE:
            key = f"{type(job).__name__} {expression}"
            self.queuer.schedule(key, expression)(partial(self._enqueue, job, key))

    async def run(self, stop: asyncio.Event, mode: QueueExecutionMode) -> None:
        """Run jobs until `stop` is set, the connection is lost, or the mode ends it."""
        if not await self.queries.schema_is_installed():
            raise QueueMissing("the job queue has no tables; run: python -m app migrate")
        if mode is QueueExecutionMode.drain:
            self.queries.only_due = True
            await self._enqueue_due()
        else:
            log.info("worker_started", jobs=[kind.__name__ for kind in JOBS])
        lost = asyncio.Event()
        self.connection.add_termination_listener(lambda _: lost.set())
        running = asyncio.create_task(
            self.queuer.run(
                mode=mode,
                dequeue_timeout=POLL,
                batch_size=BATCH,
                max_concurrent_tasks=CONCURRENCY,
                shutdown_on_listener_failure=True,
                heartbeat_timeout=HEARTBEAT,
                log_aggregation_interval=timedelta(0),  # nothing reads these statistics
            )
        )
        ends = [asyncio.create_task(event.wait()) for event in (stop, lost)]
        report = asyncio.create_task(self._report())
        try:
            await asyncio.wait([running, *ends], return_when=asyncio.FIRST_COMPLETED)
            self.queuer.shutdown.set()
            await asyncio.wait([running], timeout=DRAIN_SECONDS)
            self.stopping = True
            for task in filter(None, self.tasks):
                task.cancel()
            await asyncio.wait([running], timeout=RETURN_SECONDS)
        finally:
            for task in (running, report, *ends):
                task.cancel()
            await asyncio.gather(running, report, *ends, return_exceptions=True)
        if not running.cancelled() and (error := running.exception()):
            raise error

    async def _enqueue_due(self) -> None:
        """Enqueue the jobs that are due by the schedule, before the queue seems to be empty."""
        schedules = self.queuer.sm.registry
        delays = {key: executor.next_in() for key, executor in schedules.items()}
        await self.queries.insert_schedule(delays)
        for due in await self.queries.fetch_schedule(delays):
            key = CronExpressionEntrypoint(due.entrypoint, due.expression)
            await self.queuer.sm.dispatch(schedules[key], due)

    async def _execute(self, kind: type[Job], queued: QueuedJob) -> None:
        """Run a job. Raise `RetryRequested` for another attempt, or `DeadLetter` after the last."""
        task = asyncio.current_task()
        self.tasks.add(task)
        structlog.contextvars.bind_contextvars(job=kind.__name__, job_id=queued.id)
        attempts = queued.attempts + 1
        try:
            attempts = await self.queries.failures(queued) + 1
            await self._run(kind, queued, attempts)
        except (Exception, asyncio.CancelledError) as error:
            # PgQueuer would delete a job that is canceled.
            if self.stopping and isinstance(error, asyncio.CancelledError):
                self.queries.interrupted.add(queued.id)
                raise RetryRequested(reason="the worker stopped") from None
            if attempts >= kind.max_attempts:
                log.exception("job_failed", attempts=attempts)
                raise DeadLetter from None
            pause = pause_after(attempts)
            log.warning("job_repeats", attempts=attempts, seconds=pause.seconds, exc_info=True)
            raise RetryRequested(pause, type(error).__name__) from None
        finally:
            self.tasks.discard(task)
        log.info("job_done", attempts=attempts)

    async def _run(self, kind: type[Job], queued: QueuedJob, attempts: int) -> None:
        if attempts > kind.max_attempts:
            raise WorkerKilled
        await kind.model_validate_json(queued.payload or b"").run(self.context)

    async def _enqueue(self, job: Job, key: str, _schedule: Schedule) -> None:
        """Enqueue a scheduled job, which then fails and repeats like any other.

        PgQueuer has already chosen the next time, and ignores an error here. It uses the worker's
        own connection, because all connections of the pool may be busy.
        """
        await enqueue_with(self.queries, job, dedupe_key=key)

    async def _report(self) -> None:
        """Log what is in the queue, every minute, if there is anything."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            try:
                async with self.context.database.reads.connect() as connection:
                    backlog = await read_backlog(connection)
            except (DatabaseUnavailable, SQLAlchemyError):
                continue  # all connections are busy, or the worker's own connection is lost too
            if backlog.waiting or backlog.dead_letters:
                log.info(
                    "job_queue",
                    waiting=backlog.waiting,
                    oldest_seconds=round(backlog.oldest_seconds),
                    dead_letters=backlog.dead_letters,
                )
