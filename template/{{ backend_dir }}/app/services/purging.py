"""Deleting rows that are no longer needed, in small transactions."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Uuid,
    any_,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.settings import Settings
from app.core.tokens import CLOCK_SKEW_SECONDS
from app.db.job_queue import SCHEMA
from app.jobs.job import Job, JobContext
from app.models import (
    AttemptCount,
    AuditEvent,
    EmailToken,
    PersonalAccessToken,
    RefreshToken,
    UserSession,
)

# The number of rows that one statement deletes or reads in a few milliseconds.
BATCH: Final = 1000
# The number of sessions whose tokens one statement deletes.
SESSIONS_AT_ONCE: Final = 50
# With any other plan, each statement reads all rows that have already been deleted.
FOLLOW_THE_INDEX: Final = text(
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)"
)


# How long the queue remembers what became of a job.
JOB_LOG_AGE: Final = timedelta(days=7)
OLD_JOB_LOG: Final = text(
    f"WITH batch AS (SELECT id FROM {SCHEMA}.pgqueuer_log WHERE created < :before LIMIT {BATCH}) "  # noqa: S608
    f"DELETE FROM {SCHEMA}.pgqueuer_log USING batch WHERE pgqueuer_log.id = batch.id RETURNING 1"
)


@dataclass(frozen=True)
class Purged:
    """How many rows of each kind were deleted."""

    sessions: int
    tokens: int
    attempt_counts: int
    job_log: int = 0
    email_tokens: int = 0
    audit_events: int = 0
    personal_tokens: int = 0


class Purge(Job):
    """Deletes what `purge` deletes."""

    async def run(self, context: JobContext) -> None:
        """Delete the rows, in small transactions."""
        async with context.database.sessions() as db:
            await purge(db, context.settings)


async def purge(db: AsyncSession, settings: Settings) -> Purged:
    """Delete sessions that are no longer active, with their tokens, and other old rows.

    The other rows are counted attempts, expired email tokens and personal access tokens, and old
    entries of the audit trail and of the job queue's log.

    The tokens of a session stay while it can be active, because reuse must be detected. An expired
    session is deleted immediately. A revoked session is deleted when none of its access tokens can
    be valid and no client can still repeat a refresh. A row that another transaction has locked
    stays until the next purge.
    """
    async with db.begin():
        # As a value, because a comparison with a volatile function cannot use an index.
        now = (await db.execute(select(func.clock_timestamp()))).scalar_one()
    obsolete = or_(
        UserSession.expires_at <= now, UserSession.revoked_at <= revoked_before(settings, now)
    )
    sessions = tokens = 0
    async for ids in _obsolete_sessions(db, obsolete):
        of_sessions = any_(literal(ids, ARRAY(Uuid)))
        tokens += await _delete(db, RefreshToken, RefreshToken.session_id == of_sessions)
        # Only without tokens: the cascade would delete any number of them in one statement.
        has_tokens = exists().where(RefreshToken.session_id == UserSession.id)
        sessions += await _delete(db, UserSession, (UserSession.id == of_sessions) & ~has_tokens)
    rows = await _delete(db, AttemptCount, AttemptCount.window_ends_at <= now)
    links = await _delete(db, EmailToken, EmailToken.expires_at <= now)
    log = await _delete_job_log(db, now - JOB_LOG_AGE)
    too_old = AuditEvent.created_at < now - timedelta(days=settings.audit_retention_days)
    events = await _delete(db, AuditEvent, too_old)
    personal = await _delete(db, PersonalAccessToken, PersonalAccessToken.expires_at <= now)
    return Purged(sessions, tokens, rows, log, links, events, personal)


def revoked_before(settings: Settings, now: datetime) -> datetime:
    """Return a time. Nothing needs a session that was revoked before it."""
    access = settings.jwt_access_ttl_seconds + CLOCK_SKEW_SECONDS
    return now - timedelta(seconds=access + settings.refresh_grace_seconds)


async def delete_revoked_sessions(
    db: AsyncSession, user_id: uuid.UUID, before: datetime, limit: int
) -> None:
    """Delete some of a user's sessions that were revoked before a time.

    Each sign-in calls this, so that one account cannot fill the table before the next `purge`.
    """
    old = select(UserSession.id).where(
        UserSession.user_id == user_id, UserSession.revoked_at <= before
    )
    await db.execute(
        delete(UserSession).where(UserSession.id.in_(old.limit(limit))),
        execution_options={"synchronize_session": False},
    )


async def _obsolete_sessions(
    db: AsyncSession, obsolete: ColumnElement[bool]
) -> AsyncIterator[list[uuid.UUID]]:
    """Yield the IDs of the sessions that match, a few at a time, in one pass over all sessions."""
    last = uuid.UUID(int=0)
    while True:
        page = (
            select(UserSession.id, obsolete).where(UserSession.id > last).order_by(UserSession.id)
        )
        async with db.begin():
            rows = (await db.execute(page.limit(BATCH))).all()
        if not rows:
            return
        last = rows[-1][0]
        ids = [session_id for session_id, matches in rows if matches]
        for start in range(0, len(ids), SESSIONS_AT_ONCE):
            yield ids[start : start + SESSIONS_AT_ONCE]


async def _delete(
    db: AsyncSession,
    table: type[
        UserSession | RefreshToken | AttemptCount | EmailToken | AuditEvent | PersonalAccessToken
    ],
    which: ColumnElement[bool],
) -> int:
    (key,) = table.__table__.primary_key
    # In a CTE, which runs once. Postgres may run a plain subquery again for each row, and lock and
    # delete another batch each time.
    batch = select(key).where(which).limit(BATCH).with_for_update(skip_locked=True).cte("batch")
    statement = delete(table).where(key.in_(select(batch.c[key.name]))).returning(key)
    total = 0
    while True:
        async with db.begin():
            await db.execute(FOLLOW_THE_INDEX)
            deleted = await db.execute(statement, execution_options={"synchronize_session": False})
            count = len(deleted.all())
        total += count
        if count < BATCH:
            return total


async def _delete_job_log(db: AsyncSession, before: datetime) -> int:
    total = 0
    while True:
        async with db.begin():
            count = len((await db.execute(OLD_JOB_LOG, {"before": before})).all())
        total += count
        if count < BATCH:
            return total
