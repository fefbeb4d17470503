"""Ending sessions: logout, theft, and whatever else must leave nothing alive."""

import uuid
from dataclasses import dataclass, field

import structlog
from sqlalchemy import ColumnElement, Row, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.core.tokens import RawToken, hash_refresh_token
from app.db.session import Database
from app.models import RefreshToken, Session
from app.services.errors import SessionNotFound
from app.services.sessions.lock import lock_users
from app.services.users import SignedIn

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class Presented:
    """What a client's cookies name: a session by its access token, and one by its refresh token."""

    session_id: uuid.UUID | None = None
    refresh_token: RawToken | None = field(default=None, repr=False)


async def end_sessions(db: AsyncSession, which: ColumnElement[bool]) -> None:
    """Revoke the active sessions that match, in one statement with their current tokens.

    Call it with their users' rows locked.
    """
    now = func.clock_timestamp()
    ended = (
        update(Session)
        .where(which, Session.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(Session.id)
        .cte("ended")
    )
    await db.execute(
        update(RefreshToken)
        .where(
            RefreshToken.session_id.in_(select(ended.c.id)),
            or_(RefreshToken.revoked_at.is_(None), RefreshToken.child_nonce.is_not(None)),
        )
        .values(revoked_at=func.coalesce(RefreshToken.revoked_at, now), child_nonce=None),
        execution_options={"synchronize_session": False},
    )


async def find_presented(
    db: AsyncConnection | AsyncSession, presented: Presented
) -> list[Row[uuid.UUID, uuid.UUID]]:
    """Return the ID and the user's ID of the sessions that the cookies name.

    Any token of the family names its session, a rotated one too. It reads without a lock: the
    result says whose rows to lock, and neither of the two ever changes.
    """
    names = []
    if presented.session_id is not None:
        names.append(Session.id == presented.session_id)
    if presented.refresh_token is not None:
        # `=`, not `IN`: beside an OR, Postgres would read the whole table for that.
        by_token = select(RefreshToken.session_id).where(
            RefreshToken.token_hash == hash_refresh_token(presented.refresh_token)
        )
        names.append(Session.id == by_token.scalar_subquery())
    if not names:
        return []
    rows = await db.execute(
        select(Session.id, Session.user_id).where(or_(*names), Session.revoked_at.is_(None))
    )
    return list(rows)


async def log_out(database: Database, presented: Presented) -> None:
    """End the sessions that the cookies name; without any, do nothing."""
    async with database.transaction() as db:
        found = await find_presented(db, presented)
        if not found:
            return
        await lock_users(db, [row.user_id for row in found])
        await end_sessions(db, Session.id.in_([row.id for row in found]))
    for row in found:
        log.info("logged_out", user_id=str(row.user_id), session_id=str(row.id))


async def end_session(database: Database, signed_in: SignedIn, session_id: uuid.UUID) -> None:
    """End one session of a user. Raise `SessionNotFound`, also for another user's session."""
    async with database.transaction() as db:
        await lock_users(db, [signed_in.user.id])
        found = await db.scalar(
            select(Session.id).where(
                Session.id == session_id,
                Session.user_id == signed_in.user.id,
                Session.revoked_at.is_(None),
            )
        )
        if found is None:
            raise SessionNotFound
        await end_sessions(db, Session.id == session_id)
    log.info("logged_out", user_id=str(signed_in.user.id), session_id=str(session_id))


async def end_other_sessions(database: Database, signed_in: SignedIn) -> None:
    """End every session of a user except the one that asks."""
    async with database.transaction() as db:
        await lock_users(db, [signed_in.user.id])
        await end_sessions(
            db, (Session.user_id == signed_in.user.id) & (Session.id != signed_in.session_id)
        )
    log.info("other_sessions_ended", user_id=str(signed_in.user.id))
