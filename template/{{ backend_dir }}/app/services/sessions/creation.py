"""Creating a session, and issuing a refresh token."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.settings import Settings
from app.core.tokens import RawToken, generate_token, hash_token
from app.models import RefreshToken, UserSession
from app.services.purging import delete_revoked_sessions, revoked_before
from app.services.sessions.revocation import revoke_sessions

MAX_SESSIONS = 20
# Each sign-in adds one session and deletes up to five, which is quick even with their tokens.
DELETED_AT_ONCE = 5
MAX_USER_AGENT = 255


@dataclass(frozen=True)
class IssuedTokens:
    """The current refresh token of a session, and how long token and session remain valid."""

    user_id: uuid.UUID
    session_id: uuid.UUID
    refresh_token: RawToken = field(repr=False)
    refresh_seconds_left: float
    session_seconds_left: float


async def create_session(
    db: AsyncSession, settings: Settings, user_id: uuid.UUID, now: datetime, user_agent: str | None
) -> IssuedTokens:
    """Create a session with its first refresh token; call it with the user's row locked.

    now: the database's clock, read after the lock.

    A user has at most 20 active sessions; beyond that, the oldest is revoked. Some of the user's
    sessions that were revoked long ago are deleted.
    """
    surplus = (
        select(UserSession.id)
        .where(UserSession.user_id == user_id, UserSession.active())
        .order_by(UserSession.created_at.desc())
        .offset(MAX_SESSIONS - 1)
    )
    await revoke_sessions(db, UserSession.id.in_(surplus))
    await delete_revoked_sessions(db, user_id, revoked_before(settings, now), DELETED_AT_ONCE)

    session_id = uuid.uuid4()
    session_ttl = timedelta(seconds=settings.session_ttl_seconds)
    await db.execute(
        insert(UserSession).values(
            id=session_id,
            user_id=user_id,
            created_at=now,
            last_used_at=now,
            expires_at=now + session_ttl,
            user_agent=user_agent[:MAX_USER_AGENT] if user_agent else None,
        )
    )
    row, tokens = issue_refresh_token(
        settings, user_id, session_id, generate_token(), now, now + session_ttl
    )
    await db.execute(insert(RefreshToken), row)
    return tokens


def issue_refresh_token(
    settings: Settings,
    user_id: uuid.UUID,
    session_id: uuid.UUID,
    token: RawToken,
    now: datetime,
    session_expires_at: datetime,
) -> tuple[dict[str, Any], IssuedTokens]:
    """Return a session's new current token, as a row to insert and as the client receives it.

    It expires when it has not been used for the idle lifetime, or with its session if that is
    earlier.
    """
    expires_at = min(now + timedelta(seconds=settings.jwt_refresh_ttl_seconds), session_expires_at)
    row = {
        "id": uuid.uuid4(),
        "user_id": user_id,
        "session_id": session_id,
        "token_hash": hash_token(token),
        "expires_at": expires_at,
        "created_at": now,
    }
    return row, IssuedTokens(
        user_id=user_id,
        session_id=session_id,
        refresh_token=token,
        refresh_seconds_left=(expires_at - now).total_seconds(),
        session_seconds_left=(session_expires_at - now).total_seconds(),
    )
