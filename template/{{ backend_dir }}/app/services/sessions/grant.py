"""What a client gets for a login or a refresh."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.settings import Settings
from app.core.tokens import RawToken, hash_refresh_token, new_refresh_token
from app.models import RefreshToken, Session
from app.services.purging import delete_revoked_sessions, revoked_before
from app.services.sessions.ending import end_sessions

MAX_SESSIONS = 20
# More than a login adds, and few enough for their tokens to go with them quickly.
DELETED_AT_ONCE = 5
MAX_USER_AGENT = 255


@dataclass(frozen=True)
class Grant:
    """The live refresh token of a session, and how long token and session can still live."""

    user_id: uuid.UUID
    session_id: uuid.UUID
    refresh_token: RawToken = field(repr=False)
    refresh_seconds_left: float
    session_seconds_left: float


async def open_session(
    db: AsyncSession, settings: Settings, user_id: uuid.UUID, now: datetime, user_agent: str | None
) -> Grant:
    """Open a session with its first refresh token; call it with the user's row locked.

    now: the database's clock, read after the lock. A user has at most 20 active sessions: the
        oldest is revoked. Some sessions that were revoked long ago are deleted.
    """
    surplus = (
        select(Session.id)
        .where(Session.user_id == user_id, Session.revoked_at.is_(None), Session.expires_at > now)
        .order_by(Session.created_at.desc())
        .offset(MAX_SESSIONS - 1)
    )
    await end_sessions(db, Session.id.in_(surplus))
    await delete_revoked_sessions(db, user_id, revoked_before(settings, now), DELETED_AT_ONCE)

    session_id = uuid.uuid4()
    session_ttl = timedelta(seconds=settings.session_ttl_seconds)
    await db.execute(
        insert(Session).values(
            id=session_id,
            user_id=user_id,
            created_at=now,
            last_used_at=now,
            expires_at=now + session_ttl,
            user_agent=user_agent[:MAX_USER_AGENT] if user_agent else None,
        )
    )
    row, grant = make_link(
        settings, user_id, session_id, new_refresh_token(), now, now + session_ttl
    )
    await db.execute(insert(RefreshToken), row)
    return grant


def make_link(
    settings: Settings,
    user_id: uuid.UUID,
    session_id: uuid.UUID,
    token: RawToken,
    now: datetime,
    session_expires_at: datetime,
) -> tuple[dict[str, Any], Grant]:
    """Give a session's new live token, as a row to be written and as what the client gets.

    It idles out, and never outlives the session.
    """
    expires_at = min(now + timedelta(seconds=settings.jwt_refresh_ttl_seconds), session_expires_at)
    row = {
        "id": uuid.uuid4(),
        "user_id": user_id,
        "session_id": session_id,
        "token_hash": hash_refresh_token(token),
        "expires_at": expires_at,
        "created_at": now,
    }
    return row, Grant(
        user_id=user_id,
        session_id=session_id,
        refresh_token=token,
        refresh_seconds_left=(expires_at - now).total_seconds(),
        session_seconds_left=(session_expires_at - now).total_seconds(),
    )
