import asyncio
from datetime import timedelta
from typing import ClassVar

import asyncpg
import pytest
from fastapi import FastAPI

from app.db.session import Database
from app.jobs.job import Job, JobContext, pause_after
from app.jobs.queue import Backlog, enqueue, read_backlog, requeue_dead_letters
from app.worker import runner
from app.worker.registry import JOBS, SCHEDULE
from tests.conftest import (
    HANG_SECONDS,
    AppFactory,
    add_user,
    drop_connections,
    job_context,
    run_jobs,
    settings_for,
    until,
)
from tests.postgres import database_url

done: list[int] = []
started = asyncio.Event()


class Note(Job):
    """Adds a number to `done`."""

    number: int

    async def run(self, context: JobContext) -> None:  # noqa: ARG002 - as in Job
        done.append(self.number)


class Fail(Job):
    """Fails each time."""

    max_attempts: ClassVar[int] = 3

    async def run(self, context: JobContext) -> None:  # noqa: ARG002 - as in Job
        done.append(0)
        raise RuntimeError("it fails")


class Hang(Job):
    """Does not end."""

    async def run(self, context: JobContext) -> None:  # noqa: ARG002 - as in Job
        started.set()
        await asyncio.sleep(HANG_SECONDS)


@pytest.fixture(autouse=True)
def jobs_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the jobs of these tests, and repeat a failed job immediately."""
    done.clear()
    started.clear()
    monkeypatch.setattr(runner, "JOBS", (*JOBS, Note, Fail, Hang))
    monkeypatch.setattr(runner, "pause_after", lambda _: timedelta())
    monkeypatch.setattr(runner, "FIRST_PAUSE_SECONDS", 0.01)


async def add(app: FastAPI, job: Job, dedupe_key: str | None = None) -> bool:
    """Enqueue a job in a transaction of its own."""
    async with app.state.database.sessions.begin() as db:
        return await enqueue(db, job, dedupe_key=dedupe_key)


async def backlog(app: FastAPI) -> Backlog:
    """Return what is in the queue."""
    async with app.state.database.reads.connect() as connection:
        return await read_backlog(connection)


async def is_done(*numbers: int) -> bool:
    """Return whether the jobs with these numbers have run, in this order."""
    return done == list(numbers)


async def test_worker_runs_a_job_with_its_payload(app: FastAPI) -> None:
    await add(app, Note(number=7))

    await run_jobs(app)

    assert done == [7]
    assert (await backlog(app)).waiting == 0


async def test_job_is_enqueued_only_if_the_transaction_is_committed(app: FastAPI) -> None:
    async with app.state.database.sessions() as db:
        await enqueue(db, Note(number=1))
        await db.rollback()
    async with app.state.database.engine.begin() as connection:
        await enqueue(connection, Note(number=2))

    await run_jobs(app)

    assert done == [2]


async def test_job_with_the_key_of_a_waiting_job_is_not_added(app: FastAPI) -> None:
    assert await add(app, Note(number=1), dedupe_key="report")
    assert not await add(app, Note(number=2), dedupe_key="report")
    assert await add(app, Note(number=3), dedupe_key="another")

    await run_jobs(app)

    assert sorted(done) == [1, 3]
    assert await add(app, Note(number=4), dedupe_key="report")  # the first one is done


async def test_job_that_fails_too_often_becomes_a_dead_letter(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    await add(app, Fail())
    await add(app, Note(number=1))

    await run_jobs(app)

    assert sorted(done) == [0, 0, 0, 1]
    assert (await backlog(app)).dead_letters == 1
    (failure,) = (it.__dict__["msg"] for it in caplog.records if "job_failed" in it.getMessage())
    assert (failure["job"], failure["attempts"]) == ("Fail", 3)
    async with app.state.database.engine.begin() as connection:
        assert await requeue_dead_letters(connection) == 1
    await run_jobs(app)
    assert done.count(0) == 6


async def test_job_with_an_invalid_payload_becomes_a_dead_letter_without_its_values(
    app: FastAPI,
    db: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Note, "max_attempts", 2)
    await add(app, Note(number=1))
    await db.execute('UPDATE pgqueuer.pgqueuer SET payload = \'{"number": "secret"}\'')

    await run_jobs(app)

    assert done == []
    assert (await backlog(app)).dead_letters == 1
    assert "secret" not in caplog.text


async def test_delayed_job_waits(app: FastAPI) -> None:
    async with app.state.database.sessions.begin() as db:
        await enqueue(db, Note(number=1), delay=timedelta(hours=1))

    assert (await backlog(app)).waiting == 0


def test_pauses_between_attempts_double_up_to_ten_minutes() -> None:
    assert [pause_after(n).total_seconds() for n in (1, 2, 3, 10, 14)] == [1, 2, 4, 512, 600]
    assert pause_after(10**9) == timedelta(minutes=10)


async def test_server_runs_jobs_and_survives_a_lost_connection(
    make_app: AppFactory, db: asyncpg.Connection
) -> None:
    async with make_app(jobs_in_server=True) as app:
        await add(app, Note(number=1))
        await until(lambda: is_done(1))
        await drop_connections(db)
        await add(app, Note(number=2))
        await until(lambda: is_done(1, 2))


async def test_polling_server_runs_jobs_without_a_connection_meanwhile(
    make_app: AppFactory, db: asyncpg.Connection
) -> None:
    listening = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'worker' AND datname = current_database()"
    )
    async with make_app(jobs_in_server=True, jobs_poll_seconds=1) as app:
        await add(app, Note(number=1))
        await until(lambda: is_done(1))
        await until(lambda: db.fetchval(f"SELECT ({listening}) = 0"))


@pytest.fixture
def unmigrated(worker_id: str) -> str:
    """Return the URL of a database without tables."""
    return database_url(f"{worker_id}_behind")


async def test_worker_says_how_to_create_missing_tables(
    make_app: AppFactory, unmigrated: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_app(database_url=unmigrated) as app:
        stop = asyncio.Event()
        running = asyncio.create_task(runner.run_worker(job_context(app), stop))

        async def is_logged() -> bool:
            return "run: python -m app migrate" in caplog.text

        await until(is_logged)
        stop.set()
        await running


async def test_schedule_enqueues_a_job_once(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, db: asyncpg.Connection
) -> None:
    monkeypatch.setattr(runner, "SCHEDULE", (("0 0 1 1 *", Note(number=1)),))
    await run_jobs(app)  # stores when the job is due for the first time
    await db.execute("UPDATE pgqueuer.pgqueuer_schedules SET next_run = now()")
    stop = asyncio.Event()
    workers = [asyncio.create_task(runner.run_worker(job_context(app), stop)) for _ in range(2)]

    await until(lambda: is_done(1))
    stop.set()
    await asyncio.gather(*workers)

    assert done == [1]


async def test_scheduled_job_needs_no_connection_of_the_pool(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, db: asyncpg.Connection
) -> None:
    monkeypatch.setattr(runner, "SCHEDULE", (("0 0 1 1 *", Note(number=1)),))
    await run_jobs(app)
    await db.execute("UPDATE pgqueuer.pgqueuer_schedules SET next_run = now()")
    unavailable = Database.from_settings(settings_for("postgresql://127.0.0.1:1/none"))
    await runner.run_waiting_jobs(JobContext(app.state.settings, unavailable))

    assert done == [1]


async def test_scheduled_purge_deletes_obsolete_rows(app: FastAPI, db: asyncpg.Connection) -> None:
    user = await add_user(app, "ada@example.com")
    await db.execute(
        "INSERT INTO sessions (user_id, expires_at) VALUES ($1, clock_timestamp())", user.id
    )
    for _, job in SCHEDULE:
        await add(app, job)

    await run_jobs(app)

    assert await db.fetchval("SELECT count(*) FROM sessions") == 0


class Cancel(Job):
    """Raises `CancelledError`, like a job that waits for a canceled task."""

    max_attempts: ClassVar[int] = 2

    async def run(self, context: JobContext) -> None:  # noqa: ARG002 - as in Job
        done.append(0)
        raise asyncio.CancelledError


async def test_canceled_job_is_a_failure(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "JOBS", (Cancel,))
    await add(app, Cancel())

    await run_jobs(app)

    assert done == [0, 0]
    assert (await backlog(app)).dead_letters == 1


async def test_job_that_kills_its_workers_becomes_a_dead_letter(
    app: FastAPI, db: asyncpg.Connection
) -> None:
    await add(app, Fail())
    job = await db.fetchval("SELECT id FROM pgqueuer.pgqueuer")
    await db.execute(
        "INSERT INTO pgqueuer.pgqueuer_log (job_id, status, priority, entrypoint) "
        "SELECT $1, 'picked', 0, 'Fail' FROM generate_series(1, $2)",
        job,
        Fail.max_attempts,
    )

    await run_jobs(app)

    assert done == []
    assert (await backlog(app)).dead_letters == 1


async def test_interruption_is_not_a_failed_attempt(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, db: asyncpg.Connection
) -> None:
    monkeypatch.setattr(runner, "DRAIN_SECONDS", 0)
    await add(app, Hang())
    stop = asyncio.Event()
    running = asyncio.create_task(runner.run_worker(job_context(app), stop))
    async with asyncio.timeout(HANG_SECONDS):
        await started.wait()

    stop.set()
    await running

    job = await db.fetchrow("SELECT status::text, attempts FROM pgqueuer.pgqueuer")
    assert job
    assert tuple(job) == ("queued", 0)


async def test_worker_does_not_wait_for_delayed_jobs(app: FastAPI) -> None:
    async with app.state.database.sessions.begin() as db:
        await enqueue(db, Note(number=1), delay=timedelta(hours=1))
    await add(app, Note(number=2))

    await run_jobs(app)

    assert done == [2]


async def test_jobs_that_are_due_run_before_the_worker_ends(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, db: asyncpg.Connection
) -> None:
    monkeypatch.setattr(runner, "SCHEDULE", (("0 0 1 1 *", Note(number=1)),))
    await run_jobs(app)  # stores when the job is due for the first time
    await db.execute("UPDATE pgqueuer.pgqueuer_schedules SET next_run = now()")

    await run_jobs(app)

    assert done == [1]


async def test_dead_letter_stays_if_a_job_with_its_key_waits(app: FastAPI) -> None:
    for _ in range(2):
        await add(app, Fail(), dedupe_key="report")
        await run_jobs(app)
    assert (await backlog(app)).dead_letters == 2

    async with app.state.database.engine.begin() as connection:
        assert await requeue_dead_letters(connection) == 1
    assert (await backlog(app)).dead_letters == 1
