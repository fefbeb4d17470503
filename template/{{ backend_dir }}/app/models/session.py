"""Sessions: one for each sign-in, and therefore for each device."""

import uuid
from datetime import datetime

from sqlalchemy import ColumnElement, DateTime, ForeignKey, Text, and_, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class UserSession(Base):
    """A session. It is active until it expires or is revoked."""

    __tablename__ = "sessions"

    id: Mapped[uuid.UUID] = mapped_column(
        primary_key=True, default=uuid.uuid4, server_default=func.gen_random_uuid()
    )
    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp()
    )
    last_used_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp()
    )
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    user_agent: Mapped[str | None] = mapped_column(Text)

    @classmethod
    def active(cls) -> ColumnElement[bool]:
        """Return the condition that a session is active, by the database's clock."""
        return and_(cls.revoked_at.is_(None), cls.expires_at > func.clock_timestamp())
