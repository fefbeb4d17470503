"""The `docker` target on a real Docker engine: docs/deploy.md from the first start to a restore."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.projects import find_python, project_environment
from tests.real.base_images import BASE, CADDY, POSTGRES, PYTHON, UV, provide
from tests.real.stack import DATABASE, SLUG, Stack
from tests.support.client import Browser
from tests.support.commands import commit, git, run
from tests.support.load import Call, Load, load
from tests.support.production import EMAIL, LOGIN, ME, REFRESH
from tests.support.servers import free_port, wait_until
from tests.support.tools import give_up, require_root
from tests.support.variants import Answers

WAIT_SECONDS = 120
MIGRATION = '''"""A revision of a test."""

from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("{sql}")


def downgrade() -> None:
    raise NotImplementedError
'''
# The configuration of version 0.2.0.
OLD_DATABASE = """
services:
  postgres:
    environment: {POSTGRES_USER: app}
    configs: !reset []
"""
GUESS = "username=nobody%40example.com&password=a+wrong+password"


@pytest.fixture(scope="module")
def origin(why_no_docker: str | None, rendered: Callable[[Answers], Path]) -> Path:
    """Return the repository of a project with its lock file."""
    if why_no_docker is not None:
        require_root(why_no_docker)
        give_up(why_no_docker)
    provide(BASE, UV, CADDY, POSTGRES)
    python = find_python(PYTHON)
    if python is None:
        give_up(f"there is no Python {PYTHON} here to create the lock file")
    answers = {"deploy_target": "docker", "project_slug": SLUG, "python_version": PYTHON}
    project = rendered(answers)
    run(["make", "lock"], project, project_environment(python))
    git(project, "init", "--quiet")
    commit(project, "Start from the template")
    return project


@pytest.fixture(scope="module")
def stack(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return the stack with a user, started for the first time as the page describes.

    Its clone is created with a strict umask.
    """
    server = tmp_path_factory.mktemp("server")
    run(["sh", "-c", f"umask 077 && git clone --quiet {shlex.quote(str(origin))} project"], server)
    stack = Stack(server / "project", free_port())
    stack.write_settings()
    try:
        stack.follow("chmod 600 .env")
        stack.create_user()
        yield stack
    finally:
        stack.remove()


def add_migration(project: Path, revision: str, sql: str) -> None:
    """Write a migration that follows the newest one."""
    versions = project / "alembic/versions"
    text = "".join(it.read_text(encoding="utf-8") for it in versions.glob("*.py"))
    revisions = set(re.findall(r'^revision.* = "(\w+)"', text, re.MULTILINE))
    (head,) = revisions - set(re.findall(r'^down_revision.* = "(\w+)"', text, re.MULTILINE))
    migration = MIGRATION.format(revision=revision, down_revision=head, sql=sql)
    (versions / f"{revision}.py").write_text(migration, encoding="utf-8")


def traffic(stack: Stack) -> tuple[tuple[Browser, Call], ...]:
    """Return clients of both protocols. Two send reads, and one refreshes its tokens."""
    reading = [(stack.sign_in(host), Call("GET", ME)) for host in ("127.0.0.1", "::1")]
    return (*reading, (stack.sign_in(), Call("POST", REFRESH)))


def assert_nothing_failed(recorded: Load) -> None:
    """Check that all requests succeeded, and that there were many."""
    assert set(recorded.counts()) == {200, 204}, recorded.counts()
    assert recorded.counts().total() > 100


def test_user_signs_in_over_ipv4_and_ipv6(stack: Stack) -> None:
    for host in ("127.0.0.1", "::1"):
        assert stack.sign_in(host).get(ME).body["email"] == EMAIL


def test_each_ipv6_client_is_rate_limited_on_its_own(stack: Stack) -> None:
    statuses = stack.call_from("fd00:83:1:1", LOGIN, GUESS, 7)
    assert statuses == [401] * 5 + [429] * 2
    assert stack.call_from("fd00:83:1:2", LOGIN, GUESS) == [401]


def test_client_cannot_forge_its_address(stack: Stack) -> None:
    guess = "curl --silent --output /dev/null --write-out '%{http_code} ' -H 'X-Forwarded-For: "
    url = f"--data '{GUESS}' http://127.0.0.1:{stack.port}{LOGIN}"
    statuses = [stack.run(f"{guess}203.0.113.{it}' {url}").strip() for it in range(7)]
    assert statuses == ["401"] * 5 + ["429"] * 2


def test_application_is_not_superuser_and_superuser_has_no_password(stack: Stack) -> None:
    roles = stack.query(
        "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles "
        "WHERE rolname IN ('app', 'postgres') ORDER BY 1"
    )
    assert roles.splitlines() == ["app|f|f|f", "postgres|t|t|t"]
    assert (
        stack.query("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'postgres'") == "t"
    )
    remote = "docker compose exec -T backup psql -U {} -c 'SELECT 1'"
    assert "1 row" in stack.run(remote.format("app"))
    stack.run(remote.format("postgres"), exit_code=2)


def test_migration_may_enable_pgvector(stack: Stack) -> None:
    assert "CREATE EXTENSION" in stack.query("CREATE EXTENSION IF NOT EXISTS vector", "app")
    stack.follow("docker compose exec postgres psql")


def test_every_container_has_resource_limits(stack: Stack) -> None:
    for name, it in stack.containers().items():
        host = it["HostConfig"]
        assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "5"}, name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert "no-new-privileges:true" in host["SecurityOpt"], name


def test_access_log_contains_no_secrets(stack: Stack) -> None:
    browser = stack.sign_in()
    browser.get(f"{ME}?token=a-secret-of-the-query")
    log = stack.run("docker compose logs --no-log-prefix caddy")
    assert f'"uri":"{ME}?REDACTED"' in log
    assert '"remote_ip":"::1"' in log
    for secret in ("a-secret-of-the-query", *browser.cookies.values()):
        assert secret not in log


def test_repeated_start_changes_nothing(stack: Stack) -> None:
    before = stack.ids()
    stack.run("docker compose up --detach")
    assert stack.ids() == before


@pytest.mark.parametrize(("version", "is_new_enough"), [("2.29.2", False), ("v2.29.3-1", True)])
def test_old_compose_is_rejected(
    stack: Stack, tmp_path: Path, version: str, is_new_enough: bool
) -> None:
    docker = tmp_path / "docker"  # it only prints the version of a Compose that is not installed
    docker.write_text(
        f'#!/bin/sh\n[ "$*" = "compose version --short" ] && echo "{version}" || exit 77\n'
    )
    docker.chmod(0o755)
    path = f"PATH={tmp_path}:$PATH"
    output = stack.run(f"{path} sh deploy.sh", exit_code=77 if is_new_enough else 1)
    assert ("Docker Compose 2.29.3 or newer is needed" in output) is not is_new_enough


def test_first_backup_is_complete_and_private(stack: Stack) -> None:
    wait_until(lambda: stack.is_healthy("backup"), "no backup", WAIT_SECONDS)
    listing = stack.run("docker compose exec -T backup sh -c 'stat -c %a:%u /backups/*'")
    assert set(listing.split()) == {"600:0"}
    dump = stack.run("docker compose exec -T backup sh -c 'pg_restore --list /backups/*.dump'")
    assert re.search(r"TABLE DATA public users", dump)


def test_failed_backup_is_unhealthy_and_retried(stack: Stack) -> None:
    stack.run("docker compose stop postgres")
    stack.run("docker compose exec -T backup sh -c 'rm /backups/*; touch /backups/x.dump.part'")
    stack.run("docker compose restart backup")
    log = "docker compose logs --no-log-prefix backup"
    message = "The backup failed"
    wait_until(lambda: message in stack.run(log), message, WAIT_SECONDS)
    assert stack.run("docker compose exec -T backup ls -A /backups") == ""
    for service in ("backup", "app-1", "app-2"):
        wait_until(lambda: not stack.is_healthy(service), f"{service} is healthy", WAIT_SECONDS)  # noqa: B023
    stack.run("docker compose start postgres")
    wait_until(lambda: stack.is_healthy("backup"), "backup", WAIT_SECONDS)
    assert stack.run("docker compose exec -T backup ls -A /backups").count(".dump\n") == 1


def test_worker_runs_jobs_and_the_replicas_run_none(stack: Stack) -> None:
    stack.query(
        "INSERT INTO pgqueuer.pgqueuer (priority, status, entrypoint, payload) "
        "VALUES (0, 'queued', 'Purge', '{}')"
    )
    jobs = "SELECT count(*) FROM pgqueuer.pgqueuer"
    wait_until(lambda: stack.query(jobs) == "0", "the job does not run", WAIT_SECONDS)
    logs = {it: stack.run(f"docker compose logs {it}") for it in ("worker", "app-1", "app-2")}
    assert [it for it, log in logs.items() if '"event": "job_done"' in log] == ["worker"]


def test_deploy_and_rollback_across_a_migration_fail_no_request(stack: Stack, origin: Path) -> None:
    old = stack.release()
    add_migration(origin, "test_added", "ALTER TABLE users ADD COLUMN test_added text")
    commit(origin, "A migration")
    with load(*traffic(stack)) as recorded:
        stack.follow("git pull")
        new = stack.release()
        assert stack.query("SELECT count(test_added) FROM users") == "0"
        assert old in stack.follow(f"docker image ls {SLUG}", RELEASE=old)
    assert_nothing_failed(recorded)
    images = {stack.containers()[it]["Config"]["Image"] for it in ("app-1", "app-2", "worker")}
    assert images == {f"{SLUG}:{old}"}
    assert old == stack.release() != new


def test_changed_caddyfile_is_applied_without_a_restart(stack: Stack, origin: Path) -> None:
    before = stack.ids()
    caddyfile = origin / "Caddyfile"
    text = caddyfile.read_text(encoding="utf-8")
    changed = text.replace("\treverse_proxy", "\theader X-Changed yes\n\treverse_proxy")
    caddyfile.write_text(changed, encoding="utf-8")
    commit(origin, "Another Caddyfile")
    git(stack.project, "pull", "--quiet")
    stack.run(f"sh deploy.sh {stack.release()}")
    assert Browser(stack.port).get("/health").headers["X-Changed"] == "yes"
    stack.run("docker compose restart caddy")
    wait_until(lambda: stack.is_healthy("caddy"), "Caddy does not start", WAIT_SECONDS)
    assert Browser(stack.port).get("/health").headers["X-Changed"] == "yes"
    assert stack.ids() == before


def test_failed_migration_changes_nothing(stack: Stack, origin: Path) -> None:
    before, release = stack.ids(), stack.release()
    add_migration(origin, "test_broken", "SELECT 1/0")
    commit(origin, "A migration that fails")
    with load(*traffic(stack)) as recorded:
        output = stack.follow("git pull", exit_code=1)
    git(origin, "revert", "--no-edit", "HEAD")
    assert "division by zero" in output
    assert f"sh deploy.sh {release}" in output
    assert_nothing_failed(recorded)
    assert stack.ids() == before
    assert stack.release() == release


def test_release_that_does_not_start_replaces_one_replica_at_most(
    stack: Stack, origin: Path
) -> None:
    before, release = stack.ids(), stack.release()
    with (origin / "Dockerfile").open("a", encoding="utf-8") as dockerfile:
        dockerfile.write('CMD ["false"]\n')
    commit(origin, "A release that does not start")
    with load(*traffic(stack)) as recorded:
        stack.follow("git pull", exit_code=1)
        assert stack.ids()["app-2"] == before["app-2"]
        stack.run(f"sh deploy.sh {release}")
    assert_nothing_failed(recorded)
    assert stack.ids()["app-2"] == before["app-2"]
    git(origin, "revert", "--no-edit", "HEAD")
    git(stack.project, "pull", "--quiet")


def test_backup_is_restored_into_a_fresh_volume(stack: Stack) -> None:
    dumps = stack.run("docker compose exec -T backup sh -c 'cd /backups && ls *.dump'").split()
    stack.follow("(umask 077")
    assert stack.run(f"head -c 5 {DATABASE}.dump") == "PGDMP"
    assert (stack.project / f"{DATABASE}.dump").stat().st_mode & 0o077 == 0
    stack.run(f"docker compose down && docker volume rm {SLUG}-production_postgres")
    stack.run("sh deploy.sh")
    assert stack.query("SELECT count(*) FROM users") == "0"
    stack.follow("docker compose exec backup test -s", NAME=dumps[-1].removesuffix(".dump"))
    wait_until(lambda: stack.is_healthy("app-1"), "not ready", WAIT_SECONDS)
    assert stack.sign_in("::1").get(ME).status == 200
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert stack.query(owners) == "app"


def test_database_of_an_older_version_serves_and_is_converted(stack: Stack) -> None:
    stack.run(f"docker compose down && docker volume rm {SLUG}-production_postgres")
    (stack.project / "old.yml").write_text(OLD_DATABASE, encoding="utf-8")
    old = "COMPOSE_FILE=compose.production.yml:tests.yml:old.yml"
    stack.run(f"{old} docker compose up --detach --wait postgres")
    stack.run("sh deploy.sh")
    stack.create_user()
    superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = 'app'"
    assert stack.query(superuser, "app") == "t"
    stack.sign_in()

    stack.follow("docker compose stop app-1 app-2 worker backup")
    wait_until(lambda: stack.is_healthy("app-1"), "not ready", WAIT_SECONDS)
    assert stack.query(superuser) == "f"
    assert stack.sign_in().get(ME).status == 200
    assert (
        stack.query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
        == "app"
    )
