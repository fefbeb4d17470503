"""The sessions of a user, as they see them."""

import uuid
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.models import RefreshToken, Session
from app.services.errors import SessionNotFound
from app.services.sessions.ending import end_sessions
from app.services.sessions.lock import lock_users
from app.services.users import SignedIn

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class ListedSession:
    """A living session. `current`: the one that asks."""

    id: uuid.UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None
    current: bool


async def list_sessions(reads: AsyncEngine, signed_in: SignedIn) -> list[ListedSession]:
    """Give the living sessions of a user, the last used first."""
    alive = (
        select(
            Session.id,
            Session.created_at,
            Session.last_used_at,
            Session.expires_at,
            Session.user_agent,
            Session.id == signed_in.session_id,
        )
        .join(RefreshToken, RefreshToken.session_id == Session.id)
        .where(
            Session.user_id == signed_in.user.id,
            Session.revoked_at.is_(None),
            Session.expires_at > func.clock_timestamp(),
            RefreshToken.revoked_at.is_(None),
            RefreshToken.expires_at > func.clock_timestamp(),
        )
        .order_by(Session.last_used_at.desc())
    )
    async with reads.connect() as connection:
        return [ListedSession(*row) for row in await connection.execute(alive)]


async def end_session(db: AsyncSession, signed_in: SignedIn, session_id: uuid.UUID) -> None:
    """End one session of a user. Raises `SessionNotFound`, also for someone else's."""
    async with db.begin():
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


async def end_other_sessions(db: AsyncSession, signed_in: SignedIn) -> None:
    """End every session of a user but the one that asks."""
    async with db.begin():
        await lock_users(db, [signed_in.user.id])
        await end_sessions(
            db, (Session.user_id == signed_in.user.id) & (Session.id != signed_in.session_id)
        )
    log.info("logged_out", user_id=str(signed_in.user.id), session_id="all others")
