"""Background jobs, whose workers and database are killed while they run."""

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from scripts.projects import python_of
from tests.support.load import Call, load
from tests.support.production import ME, NUMBERS, Site
from tests.support.servers import Server, started, wait_until

JOBS = 10_000
# A killed worker's jobs run again after 30 seconds. The rest is for a busy machine.
WAIT_SECONDS = 300
# A worker of the project that also has the jobs of these tests.
WORKER = """
import asyncio
from sqlalchemy import text
from app.cli import main
from app.jobs.job import Job
from app.worker import runner

class Note(Job):
    number: int

    async def run(self, context):
        async with context.database.sessions.begin() as db:
            await db.execute(text("INSERT INTO noted VALUES (:number)"), {"number": self.number})

class Slow(Note):
    async def run(self, context):
        await super().run(context)
        await asyncio.sleep(3600 if self.number == 1 else 0)

class Poison(Job):
    max_attempts = 2

    async def run(self, context):
        raise RuntimeError("poison")

runner.JOBS = (*runner.JOBS, Note, Slow, Poison)
raise SystemExit(main(["worker"]))
"""


@pytest.fixture
def jobs_site(site: Site) -> Site:
    """Return a site whose database has a table for the numbers of jobs that ran."""
    site.query("CREATE TABLE noted (number integer, at timestamptz DEFAULT clock_timestamp())")
    return site


def work(site: Site) -> AbstractContextManager[Server]:
    """Start a worker."""
    log = site.folder / f"worker-{next(NUMBERS)}.log"
    environment = site.environment(PORT="0", PYTHONPATH=str(site.project))
    return started([python_of(site.project), "-c", WORKER], site.project, environment, log)


@pytest.fixture
def workers(jobs_site: Site) -> Iterator[list[Server]]:
    """Return two workers, one of which a test can kill."""
    with ExitStack() as stack:
        yield [stack.enter_context(work(jobs_site)) for _ in range(2)]


def enqueue(site: Site, kind: str, first: int, last: int) -> None:
    """Enqueue jobs of a kind, with these numbers."""
    site.query(
        "INSERT INTO pgqueuer.pgqueuer (priority, status, entrypoint, payload) "  # noqa: S608
        f"SELECT 0, 'queued', '{kind}', convert_to(format('{{\"number\": %s}}', n), 'utf8') "
        f"FROM generate_series({first}, {last}) n"
    )


def noted(site: Site) -> int:
    """Return how many of the numbers are noted at least once."""
    return int(site.query("SELECT count(DISTINCT number) FROM noted"))


def waiting(site: Site) -> int:
    """Return how many jobs wait or run."""
    count = "SELECT count(*) FROM pgqueuer.pgqueuer WHERE status IN ('queued', 'picked')"
    return int(site.query(count))


def test_ten_thousand_jobs_survive_a_killed_worker_and_fail_no_request(
    jobs_site: Site, workers: list[Server]
) -> None:
    site = jobs_site
    enqueue(site, "Poison", 0, 0)
    enqueue(site, "Note", 1, JOBS)
    with site.serve(JOBS_IN_SERVER="false") as server:
        server.wait_until_ready()
        with load((site.sign_in(server), Call("GET", ME))) as recorded:
            wait_until(lambda: noted(site) > JOBS // 10, workers[0].output, WAIT_SECONDS)
            workers[0].stop(signal.SIGKILL)
            assert noted(site) < JOBS
            wait_until(lambda: waiting(site) == 0, workers[1].output, WAIT_SECONDS)
        assert set(recorded.counts()) == {200}, recorded.counts()
    assert noted(site) == JOBS
    assert site.query("SELECT entrypoint, status FROM pgqueuer.pgqueuer") == "Poison|failed"


def test_job_of_a_killed_worker_runs_again(jobs_site: Site) -> None:
    site = jobs_site
    enqueue(site, "Slow", 1, 1)
    with work(site) as first:
        wait_until(lambda: noted(site) == 1, first.output)
        with work(site) as second:
            first.stop(signal.SIGKILL)
            count = "SELECT count(*) FROM noted"
            wait_until(lambda: site.query(count) == "2", second.output, WAIT_SECONDS)


def test_stopped_worker_returns_its_job_to_the_queue(jobs_site: Site) -> None:
    site = jobs_site
    enqueue(site, "Slow", 1, 1)
    with work(site) as worker:
        wait_until(lambda: noted(site) == 1, worker.output)
        assert worker.stop(signal.SIGTERM) == 0
    assert site.query("SELECT status FROM pgqueuer.pgqueuer") == "queued"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_worker_goes_on_after_the_database_was_stopped(
    jobs_site: Site, number: signal.Signals
) -> None:
    site = jobs_site
    enqueue(site, "Note", 1, JOBS // 10)
    with site.serve() as server, work(site) as worker:
        server.wait_until_ready()
        wait_until(lambda: noted(site) > 0, worker.output)
        with site.postgres.stopped(number):
            pass
        enqueue(site, "Note", JOBS // 10 + 1, JOBS // 5)
        wait_until(lambda: noted(site) == JOBS // 5, worker.output, WAIT_SECONDS)
        wait_until(lambda: waiting(site) == 0, worker.output, WAIT_SECONDS)
        assert server.responds("/health/ready", 200)
        assert worker.process.poll() is None


def test_worker_behind_a_pooler_only_says_what_to_set(site: Site) -> None:
    with site.serve(DATABASE_POOLER="true") as server:
        server.wait_until_ready()
        wait_until(lambda: "worker_needs_a_direct_connection" in server.output(), server.output)
        assert "MIGRATION_DATABASE_URL" in server.output()
