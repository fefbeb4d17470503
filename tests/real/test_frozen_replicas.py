"""A replica that is frozen in the middle of a transaction, like on a paused machine."""

import signal
from concurrent.futures import ThreadPoolExecutor

from scripts.projects import python_of
from tests.support.client import Browser
from tests.support.commands import run
from tests.support.load import Call, call_once
from tests.support.production import CREDENTIALS, LOGIN, ME, REFRESH, Site
from tests.support.servers import wait_until

# The database waits for half a minute. The rest is for a busy machine.
PATIENCE_SECONDS = 90

SHOW_KEEPALIVES = """
import asyncio
from sqlalchemy import text
from app.core.startup import load_settings
from app.db.session import Database

async def main():
    database = Database.from_settings(load_settings())
    async with database.reads.connect() as connection:
        for name in ("idle", "interval", "count"):
            print(await connection.scalar(text(f"SHOW tcp_keepalives_{name}")))
    await database.close()

asyncio.run(main())
"""


def test_frozen_replica_does_not_lock_out_its_users(site: Site) -> None:
    long = site.serve(DATABASE_TIMEOUT_SECONDS="300")
    with long as frozen, site.serve() as other, ThreadPoolExecutor(1) as threads:
        frozen.wait_until_ready()
        other.wait_until_ready()
        browser = site.sign_in(frozen)
        login = Call("POST", LOGIN, CREDENTIALS)
        # The refresh holds its user's lock while it waits for its token's row.
        with site.postgres.holding("SELECT FROM refresh_tokens FOR UPDATE", site.database):
            threads.submit(call_once, browser, Call("POST", REFRESH))
            wait_until(lambda: site.waiting_for_a_lock() == 1, "the refresh does not wait")
            frozen.process.send_signal(signal.SIGSTOP)
        try:
            assert call_once(Browser(other.port), login).status == 503
            wait_until(
                lambda: call_once(Browser(other.port), login).status == 200,
                "the frozen replica keeps the user's lock",
                PATIENCE_SECONDS,
            )
        finally:
            frozen.process.send_signal(signal.SIGCONT)
        wait_until(lambda: '"unavailable"' in frozen.output(), frozen.output)
        assert site.sign_in(frozen).get(ME).status == 200
        assert "internal_error" not in frozen.output()


def test_database_sends_keepalives_to_replicas(site: Site) -> None:
    shown = run([python_of(site.project), "-c", SHOW_KEEPALIVES], site.project, site.environment())
    assert shown.split() == ["30", "10", "3"]
