"""Pages of a long list: whether the last one is as fast as the first one."""

from typing import Final

from benchmarks.figures import Figure, Target, against, ratios
from benchmarks.stage import SMALL, Stage

USERS: Final = 1_000_000
LISTED: Final = "listed"
FILL: Final = f"""
TRUNCATE users, attempt_counts CASCADE;
INSERT INTO users (email, password_hash, created_at)
SELECT 'user-' || u || '@example.com', '', clock_timestamp() - make_interval(secs => u)
FROM generate_series(1, {USERS}) u;
"""  # noqa: S608 - only from our own numbers


def measure(stage: Stage, rounds: int) -> list[Figure]:
    """Fill a table with users, and list them."""
    postgres = stage.postgres
    postgres.create_database(LISTED, SMALL)
    postgres.query(FILL, LISTED)
    postgres.query("VACUUM ANALYZE users", LISTED)
    url = postgres.url(LISTED)
    found = [stage.probe("pages", str(USERS), DATABASE_URL=url) for _ in range(rounds)]
    postgres.query(f'DROP DATABASE "{LISTED}" WITH (FORCE)')
    first, last, offset = ([it[name] for it in found] for name in ("first", "last", "offset"))
    return [
        Figure(
            f"the last page of {USERS:,} users, relative to the first page",
            ratios(last, first),
            against(last, first, "ms", 2),
            Target("≤", 1.3),
        ),
        Figure(
            "the last page with OFFSET, relative to the first page",
            ratios(offset, first),
            against(offset, first, "ms", 2),
        ),
    ]
