"""Users."""

import uuid
from datetime import datetime

from sqlalchemy import DateTime, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.roles import Role
from app.db.base import Base


class User(Base):
    """A user. `email` is normalized and unique.

    role: a `Role`. email_verified_at: when a link that was sent to the address was used; None if
    never.
    """

    __tablename__ = "users"
    # For the lists of administrators: all users, those with a role, the inactive ones, and those
    # whose address begins so.
    __table_args__ = (
        Index("ix_users_created_at_id", "created_at", "id"),
        Index("ix_users_role_created_at_id", "role", "created_at", "id"),
        Index("ix_users_inactive", "created_at", "id", postgresql_where=text("NOT is_active")),
        Index("ix_users_email_prefix", "email", postgresql_ops={"email": "text_pattern_ops"}),
    )

    id: Mapped[uuid.UUID] = mapped_column(
        primary_key=True, default=uuid.uuid4, server_default=func.gen_random_uuid()
    )
    email: Mapped[str] = mapped_column(Text, unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
    role: Mapped[str] = mapped_column(Text, default=Role.USER, server_default=Role.USER)
    email_verified_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp()
    )
