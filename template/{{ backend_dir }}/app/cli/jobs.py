"""The commands `worker` and `jobs`."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from types import FrameType

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from app.cli.database import prepare, run
from app.cli.errors import CommandError
from app.core.settings import Settings
from app.db.session import Database
from app.jobs.job import JobContext
from app.jobs.queue import read_backlog, requeue_dead_letters
from app.worker.runner import POOLER_HINT, QueueMissing, run_waiting_jobs, run_worker


def worker(*, once: bool) -> None:
    """Run jobs until SIGTERM or Ctrl-C, then finish the ones that are running.

    once: exit when no job is in the queue.
    """
    settings = prepare()
    if settings.migration_database.pooled:
        raise CommandError(f"A worker cannot use a transaction pooler: {POOLER_HINT}.")
    try:
        asyncio.run(_work(settings, run_waiting_jobs if once else run_worker))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, QueueMissing) as error:
        raise CommandError(str(error)) from None


async def _work(
    settings: Settings, work: Callable[[JobContext, asyncio.Event], Awaitable[None]]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_soon(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop_soon)
    database = Database.from_settings(settings)
    try:
        await work(JobContext(settings, database), stop)
    finally:
        await database.close()


def jobs(*, retry: bool) -> None:
    """Print what is in the queue. retry: first let the dead letters run again."""

    async def work(db: AsyncSession) -> None:
        async with db.begin():
            connection = await db.connection()
            count = await requeue_dead_letters(connection) if retry else 0
            backlog = await read_backlog(connection)
        if retry:
            print(f"{count} dead letters run again.")
        print(f"{backlog.waiting} jobs wait, the oldest for {backlog.oldest_seconds:.0f} seconds.")
        print(f"{backlog.dead_letters} jobs have failed too often.")
        if backlog.dead_letters:
            print("The log says why. To let them run again: python -m app jobs --retry")

    run(prepare(), work)
