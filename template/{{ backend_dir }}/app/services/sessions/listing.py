"""The sessions of a user, as they see them."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from app.db.session import Database
from app.models import RefreshToken, Session
from app.services.users import SignedIn


@dataclass(frozen=True)
class ListedSession:
    """A living session. `current`: the one that asks."""

    id: uuid.UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None
    current: bool


async def list_sessions(database: Database, signed_in: SignedIn) -> list[ListedSession]:
    """Return the active sessions of a user, the last used first."""
    active = (
        select(
            Session.id,
            Session.created_at,
            Session.last_used_at,
            Session.expires_at,
            Session.user_agent,
            (Session.id == signed_in.session_id).label("current"),
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
    async with database.reads.connect() as connection:
        rows = (await connection.execute(active)).mappings()
        return [ListedSession(**row) for row in rows]
