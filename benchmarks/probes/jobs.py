"""Measures a worker: jobs per second, and the time from a commit to the start of its job.

Beside each, the same by hand on asyncpg: a loop that takes ten jobs in a transaction and deletes
them, and a notification.
"""

import asyncio
import json
import time
from statistics import median

import asyncpg

from app.core.settings import Settings
from app.core.startup import load_or_exit
from app.db.session import Database
from app.jobs.job import Job, JobContext
from app.jobs.queue import enqueue
from app.worker import runner

JOBS = 1000
STARTS = 100
started = asyncio.Event()


class Nothing(Job):
    """Does nothing."""

    async def run(self, _context: JobContext) -> None:
        """Note that it started."""
        started.set()


FILL = """
INSERT INTO pgqueuer.pgqueuer (priority, status, entrypoint, payload)
SELECT 0, 'queued', 'Nothing', '{}' FROM generate_series(1, $1)
"""
TAKE = (
    "SELECT id FROM pgqueuer.pgqueuer WHERE status = 'queued' ORDER BY priority DESC, id LIMIT 10 "
    "FOR UPDATE SKIP LOCKED"
)


async def main(settings: Settings) -> None:
    """Print the measurements as JSON."""
    runner.JOBS = (Nothing,)  # type: ignore[misc]
    context = JobContext(settings, Database.from_settings(settings))
    connection = await asyncpg.connect(settings.database.dsn)
    await connection.execute(FILL, JOBS)
    began = time.perf_counter()
    await runner.run_waiting_jobs(context)
    rate = JOBS / (time.perf_counter() - began)

    await connection.execute(FILL, JOBS)
    began = time.perf_counter()
    taken = True
    while taken:
        async with connection.transaction():
            ids = [row["id"] for row in await connection.fetch(TAKE)]
            await connection.execute("DELETE FROM pgqueuer.pgqueuer WHERE id = ANY($1)", ids)
        taken = bool(ids)
    by_hand = JOBS / (time.perf_counter() - began)

    stop = asyncio.Event()
    running = asyncio.create_task(runner.run_worker(context, stop))
    starts = []
    for number in range(STARTS + 1):
        started.clear()
        async with context.database.sessions.begin() as db:
            await enqueue(db, Nothing())
        began = time.perf_counter()
        await started.wait()
        if number:  # the first one waits until the worker has connected
            starts.append(time.perf_counter() - began)
    stop.set()
    await running

    listener = await asyncpg.connect(settings.database.dsn)
    await listener.add_listener("benchmark", lambda *_: started.set())
    notifications = []
    for _ in range(STARTS):
        started.clear()
        began = time.perf_counter()
        await connection.execute("NOTIFY benchmark")
        await started.wait()
        notifications.append(time.perf_counter() - began)
    for each in (listener, connection):
        await each.close()
    await context.database.close()
    print(
        json.dumps(
            {
                "rate": rate,
                "by_hand": by_hand,
                "start": median(starts) * 1000,
                "notification": median(notifications) * 1000,
            }
        )
    )


asyncio.run(main(load_or_exit()))
