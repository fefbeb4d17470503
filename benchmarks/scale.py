"""Many rows: whether each request uses indexes, and is as fast as with few rows."""

import json
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.figures import Figure, Target, against, ratios
from benchmarks.rows import SESSIONS, TOKENS, fill
from benchmarks.stage import SMALL, SMALL_USERS, Stage
from tests.support.commands import run

LARGE: Final = "large"
USERS: Final = 1_000_000
BATCH: Final = 20_000
CALLERS: Final = 30
# More than the disk space per refresh token: row and indexes take 259 bytes. The rest is for the
# other tables and for temporary files.
BYTES_PER_TOKEN: Final = 450
# The share of the time for adding rows. Creating the indexes at the end takes the rest.
FILLING: Final = 0.4
# This table has one row in every deployment.
ALWAYS_SMALL: Final = "alembic_version"


def measure(stage: Stage, rounds: int, minutes: float) -> list[Figure]:
    """Fill a large database for some minutes, and compare its query times with the small one."""
    users = fill_large(stage, minutes)
    found: dict[str, list[Any]] = {SMALL: [], LARGE: []}
    for _ in range(rounds):
        for name, count in ((SMALL, SMALL_USERS), (LARGE, users)):
            url = stage.postgres.url(name)
            found[name].append(
                stage.probe(
                    "queries", str(count), str(CALLERS), ENVIRONMENT="test", DATABASE_URL=url
                )
            )
    statements = {it for first, _ in found[LARGE] for asked in first.values() for it in asked}
    scans = [it for it in sorted(statements) if not uses_indexes(stage, it)]
    tokens = users * SESSIONS * TOKENS
    size = f"{users:,} users, {users * SESSIONS:,} sessions, {tokens:,} refresh tokens"
    found_by = f"{len(statements) - len(scans)} of {len(statements)} statements"
    held = int(stage.postgres.query("SELECT pg_total_relation_size('refresh_tokens')", LARGE))
    return [
        Figure(
            f"{size}: share of the statements that use an index",
            [1 - len(scans) / len(statements)],
            " ".join("; ".join([found_by, f"{held / tokens:.0f} bytes a token", *scans]).split()),
            Target("≥", 1),
        ),
        slowest(
            "query time per request in this large database, relative to one with "
            f"{SMALL_USERS:,} users; the figure is that of the endpoint that slows down most",
            found,
            1,
            Target("≤", 1.3),
        ),
        slowest(
            "the same for the first request of a user, whose rows are not in memory yet", found, 0
        ),
    ]


def slowest(
    name: str, found: dict[str, list[Any]], which: int, target: Target | None = None
) -> Figure:
    """Return a figure of the slowest request. which: 0 for the first time, 1 for the second."""
    seconds = {
        database: {
            call: [total(times[which][call]) for times in rounds] for call in rounds[0][which]
        }
        for database, rounds in found.items()
    }
    large, small = seconds[LARGE], seconds[SMALL]
    samples = {call: ratios(large[call], small[call]) for call in sorted(large)}
    details = [
        f"`{call}` {median(it):.2f}: "
        + against([s * 1000 for s in large[call]], [s * 1000 for s in small[call]], "ms", 2)
        for call, it in samples.items()
    ]
    return Figure(
        name,
        samples[max(samples, key=lambda call: median(samples[call]))],
        "; ".join(details),
        target,
    )


def total(asked: dict[str, list[float]]) -> float:
    """Return the sum of the median query times of a request, in seconds."""
    return sum(median(seconds) for seconds in asked.values())


def fill_large(stage: Stage, minutes: float) -> int:
    """Create the large database, and return its number of users.

    Create the indexes last: updating six indexes while adding 30 million rows takes hours.
    """
    postgres, started = stage.postgres, time.monotonic()
    for setting in (
        "shared_buffers = '1GB'",
        "maintenance_work_mem = '1GB'",
        "max_wal_size = '8GB'",
    ):
        postgres.query(f"ALTER SYSTEM SET {setting}")
    postgres.stop()
    postgres.start()
    postgres.create_database(LARGE, SMALL)
    postgres.query("TRUNCATE users, attempt_counts CASCADE", LARGE)
    # Not the schema of the job queue, which keeps its indexes.
    dump: list[str | Path] = [
        postgres.programs / "pg_dump",
        "--schema-only",
        "--section=post-data",
        "--schema=public",
    ]
    indexes = run([*dump, postgres.url(SMALL)], stage.folder)
    drop_indexes(stage)
    # A cheap hash, because verifying passwords is not measured here.
    password_hash = stage.probe("hashing", ENVIRONMENT="test")["hash"]
    stage.site.query(f"UPDATE users SET password_hash = '{password_hash}'")  # noqa: S608
    users = 0
    free = shutil.disk_usage(postgres.folder).free
    while users < USERS and time.monotonic() - started < FILLING * minutes * 60:
        if (users + BATCH) * SESSIONS * TOKENS * BYTES_PER_TOKEN > free * 0.8:
            break
        postgres.query(
            f"SET synchronous_commit = off; {fill(users + 1, users + BATCH, password_hash)}", LARGE
        )
        users += BATCH
    script = stage.folder / "indexes.sql"
    script.write_text(indexes, encoding="utf-8")
    psql: list[str | Path] = [
        postgres.programs / "psql",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        f"--file={script}",
    ]
    run([*psql, postgres.url(LARGE)], stage.folder)
    for name in (SMALL, LARGE):
        postgres.query("VACUUM ANALYZE", name)
    return users


def drop_indexes(stage: Stage) -> None:
    """Drop the keys, unique constraints and indexes of the large database."""
    drop = """
    DO $$ DECLARE it record; BEGIN
        FOR it IN SELECT conrelid::regclass AS on_table, conname FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f')
            ORDER BY contype <> 'f'
        LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', it.on_table, it.conname); END LOOP;
        FOR it IN SELECT indexname FROM pg_indexes WHERE schemaname = 'public'
        LOOP EXECUTE format('DROP INDEX %I', it.indexname); END LOOP;
    END $$
    """
    stage.postgres.query(drop, LARGE)


def uses_indexes(stage: Stage, statement: str) -> bool:
    """Return whether the generic plan of a statement scans no whole table."""
    plan = stage.postgres.query(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {statement}", LARGE)
    return not any(
        node["Node Type"] == "Seq Scan" and node["Relation Name"] != ALWAYS_SMALL
        for node in nodes(json.loads(plan)[0]["Plan"])
    )


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all nodes of a query plan."""
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes(part))]
