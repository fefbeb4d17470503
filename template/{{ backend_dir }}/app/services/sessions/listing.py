"""The list of a user's sessions."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from app.db.session import Database
from app.models import RefreshToken, UserSession
from app.services.sessions.authentication import AuthContext


@dataclass(frozen=True)
class ListedSession:
    """An active session. current: whether the request belongs to it."""

    id: uuid.UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None
    current: bool


async def list_sessions(database: Database, auth: AuthContext) -> list[ListedSession]:
    """Return the active sessions of a user, the last used first."""
    active = (
        select(
            UserSession.id,
            UserSession.created_at,
            UserSession.last_used_at,
            UserSession.expires_at,
            UserSession.user_agent,
            (UserSession.id == auth.session_id).label("current"),
        )
        .join(RefreshToken, RefreshToken.session_id == UserSession.id)
        .where(
            UserSession.user_id == auth.user.id,
            UserSession.active(),
            RefreshToken.revoked_at.is_(None),
            RefreshToken.expires_at > func.clock_timestamp(),
        )
        .order_by(UserSession.last_used_at.desc())
    )
    async with database.reads.connect() as connection:
        rows = (await connection.execute(active)).mappings()
        return [ListedSession(**row) for row in rows]
