"""The application behind PgBouncer in transaction mode, in which clients share connections."""

from collections.abc import Iterator

import pytest

from scripts.projects import python_of
from tests.support.client import Browser
from tests.support.commands import run
from tests.support.load import Call, load
from tests.support.middlemen import pgbouncer
from tests.support.postgres import folder_for_other_user
from tests.support.production import CREDENTIALS, EMAIL, LOGIN, LOGOUT, ME, PASSWORD, REFRESH, Site
from tests.support.servers import Server, wait_until

CONNECTIONS = 3
NEW_PASSWORD = "another passphrase"


@pytest.fixture
def replica(site: Site) -> Iterator[Server]:
    """Return a replica behind PgBouncer."""
    with (
        folder_for_other_user() as folder,
        pgbouncer(site.postgres, folder, CONNECTIONS) as port,
    ):
        site.settings |= {
            "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{port}/{site.database}",
            "DATABASE_POOLER": "true",
            "LOGIN_THROTTLE_ENABLED": "true",
        }
        with site.serve() as server:
            server.wait_until_ready()
            yield server


def test_session_endpoints_work_behind_pgbouncer(site: Site, replica: Server) -> None:
    laptop, phone = site.sign_in(replica), site.sign_in(replica)
    assert laptop.post(REFRESH).status == 204
    assert laptop.get(ME).body["email"] == EMAIL
    assert len(laptop.get(f"{ME}/sessions").body) == 2
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert laptop.put(f"{ME}/password", change).status == 204
    assert phone.get(ME).status == 401
    assert laptop.get(ME).status == 200
    assert laptop.post(LOGOUT).status == 204
    assert laptop.get(ME).status == 401
    guess = Browser(replica.port)
    assert [guess.post(LOGIN, CREDENTIALS).status for _ in range(6)] == [401] * 5 + [429]


def test_jobs_run_beside_pgbouncer_on_a_direct_connection(site: Site, replica: Server) -> None:
    site.query(
        "INSERT INTO pgqueuer.pgqueuer (priority, status, entrypoint, payload) "
        "VALUES (0, 'queued', 'Purge', '{}')"
    )
    waiting = "SELECT count(*) FROM pgqueuer.pgqueuer"
    assert "worker_needs_a_direct_connection" in replica.output()
    assert site.query(waiting) == "1"
    direct = site.postgres.url(site.database)
    with site.serve(MIGRATION_DATABASE_URL=direct) as server:
        wait_until(lambda: site.query(waiting) == "0", server.output)


def test_commands_work_behind_pgbouncer(site: Site, replica: Server) -> None:
    browser = site.sign_in(replica)
    for command in (["migrate"], ["doctor"], ["purge"], ["end-sessions", EMAIL]):
        run(
            [python_of(site.project), "-m", "app", *command],
            site.project,
            site.environment(),
        )
    assert browser.get(ME).status == 401


def test_more_clients_than_pgbouncer_has_connections_are_served(
    site: Site, replica: Server
) -> None:
    readers = [(site.sign_in(replica), Call("GET", ME)) for _ in range(6)]
    writers = [(site.sign_in(replica), Call("POST", REFRESH)) for _ in range(4)]
    probes = (Browser(replica.port), Call("GET", "/health/ready"))
    with load(*readers, *writers, probes) as recorded:
        recorded.wait_for(200, 200)
        recorded.wait_for(100, 204)
        assert site.connections("application_name <> 'psql'") <= CONNECTIONS
    assert set(recorded.counts()) == {200, 204}, recorded.counts()
    assert "Traceback" not in replica.output()
