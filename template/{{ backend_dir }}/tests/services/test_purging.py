"""`purge`: which rows it deletes, which rows it keeps, and the size of its batches."""

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.services import purging
from app.services.purging import BATCH, Purged, purge
from app.services.users import PublicUser
from tests.conftest import advance_time, cookie, set_cookie

REFRESH = "/api/v1/auth/refresh"
# With the settings for tests: lifetime of an access token + clock skew + grace period.
LAST_USE_SECONDS = 900 + 30 + 10


async def run_purge(app: FastAPI) -> Purged:
    async with app.state.database.sessions() as db:
        return await purge(db, app.state.settings)


async def test_purge_keeps_revoked_sessions_until_their_access_tokens_expire(
    app: FastAPI, signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    refresh_token = cookie(signed_in, "refresh")
    await signed_in.post(REFRESH)
    await db.execute("UPDATE sessions SET revoked_at = clock_timestamp()")

    await advance_time(db, LAST_USE_SECONDS - 5)
    assert (await run_purge(app)).sessions == 0
    await advance_time(db, 5)
    purged = await run_purge(app)
    assert (purged.sessions, purged.tokens) == (1, 2)

    set_cookie(signed_in, "refresh", refresh_token)
    response = await signed_in.post(REFRESH)
    assert response.json()["type"] == "/problems/refresh-token-unknown"
    assert len(response.headers.get_list("set-cookie")) == 2


async def test_purge_deletes_audit_events_after_the_retention_period(
    app: FastAPI, db: asyncpg.Connection
) -> None:
    await db.execute(
        "INSERT INTO audit_events (action, created_at) SELECT days::text, "
        "clock_timestamp() - make_interval(days => days, mins => 1) "
        "FROM unnest(ARRAY[0, 364, 365]) days"
    )

    assert (await run_purge(app)).audit_events == 1
    kept = await db.fetch("SELECT action FROM audit_events ORDER BY id")
    assert [row["action"] for row in kept] == ["0", "364"]


async def add_sessions(
    db: asyncpg.Connection, user: PublicUser, sessions: int, tokens: int
) -> None:
    """Add sessions of a user that have just expired, each with several tokens."""
    await db.execute(
        "INSERT INTO sessions (user_id, expires_at) "
        "SELECT $1, clock_timestamp() FROM generate_series(1, $2)",
        user.id,
        sessions,
    )
    await db.execute(
        "INSERT INTO refresh_tokens (user_id, session_id, token_hash, expires_at, revoked_at) "
        "SELECT user_id, id, sha256((id::text || n)::bytea), now(), now() "
        "FROM sessions, generate_series(1, $1) n WHERE expires_at <= clock_timestamp()",
        tokens,
    )


@pytest.fixture
async def largest_delete(db: asyncpg.Connection) -> AsyncIterator[None]:
    """Record in `deletes` how many tokens each statement deletes, including by a cascade."""
    await db.execute("""
        CREATE TABLE deletes (tokens int);
        CREATE FUNCTION note_delete() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO deletes SELECT count(*) FROM gone; RETURN NULL; END $$;
        CREATE TRIGGER note_delete AFTER DELETE ON refresh_tokens
            REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_delete();
    """)
    yield
    await db.execute("DROP FUNCTION note_delete CASCADE; DROP TABLE deletes")


@pytest.fixture(
    params=[(), ("hashagg", "hashjoin", "material", "mergejoin", "sort")],
    ids=["any plan", "nested loops"],
)
async def plan(
    request: pytest.FixtureRequest, app: FastAPI, db: asyncpg.Connection
) -> AsyncIterator[None]:
    """Use any query plan, or force nested loops, which repeat a subquery for each row."""
    database = await db.fetchval("SELECT quote_ident(current_database())")
    for method in request.param:
        await db.execute(f"ALTER DATABASE {database} SET enable_{method} = off")
    await app.state.database.engine.dispose()  # new connections have the settings
    yield
    await db.execute(f"ALTER DATABASE {database} RESET ALL")
    await app.state.database.engine.dispose()


@pytest.mark.parametrize(
    ("sessions", "tokens"), [(1, 3 * 100 + 1), (60, 5)], ids=["one session", "many sessions"]
)
@pytest.mark.usefixtures("largest_delete", "plan")
async def test_no_statement_deletes_more_than_a_batch(
    app: FastAPI,
    ada: PublicUser,
    db: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    sessions: int,
    tokens: int,
) -> None:
    monkeypatch.setattr(purging, "BATCH", 100)  # nested loops take quadratic time
    await add_sessions(db, ada, sessions, tokens)

    assert await run_purge(app) == Purged(sessions, sessions * tokens, 0, 0)
    assert await db.fetchval("SELECT max(tokens) FROM deletes") == 100


@pytest.mark.slow
@pytest.mark.usefixtures("largest_delete")
async def test_purge_deletes_more_rows_than_one_batch(
    app: FastAPI, ada: PublicUser, db: asyncpg.Connection
) -> None:
    await add_sessions(db, ada, sessions=BATCH + 200, tokens=100)
    purged = await run_purge(app)
    assert (purged.sessions, purged.tokens) == (BATCH + 200, 100 * (BATCH + 200))
    assert await db.fetchval("SELECT max(tokens) FROM deletes") == BATCH


@pytest.mark.parametrize("table", ["refresh_tokens", "sessions"])
async def test_purge_skips_rows_that_another_transaction_has_locked(
    app: FastAPI, ada: PublicUser, db: asyncpg.Connection, table: str
) -> None:
    await add_sessions(db, ada, sessions=3, tokens=2)
    async with db.transaction():
        await db.execute(f"SELECT FROM {table} LIMIT 1 FOR UPDATE")
        tokens = 5 if table == "refresh_tokens" else 6
        assert await run_purge(app) == Purged(2, tokens, 0, 0)

    assert await run_purge(app) == Purged(1, 6 - tokens, 0, 0)
    assert await run_purge(app) == Purged(0, 0, 0, 0)
