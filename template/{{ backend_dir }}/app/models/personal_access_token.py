"""Personal access tokens, with which scripts and other programs use the API."""

import uuid
from datetime import datetime

from sqlalchemy import ARRAY, ColumnElement, DateTime, ForeignKey, Index, LargeBinary, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class PersonalAccessToken(Base):
    """A token that a user has created. Its row is deleted when it is revoked.

    name: what the user calls it. scopes: see `Scope`. token_hash: the SHA-256 of the token.
    last_used_at: about when it was used last, to the hour; None if never.
    """

    __tablename__ = "personal_access_tokens"
    # For the list of a user's tokens.
    __table_args__ = (
        Index(
            "ix_personal_access_tokens_user_id_created_at_id",
            "user_id",
            "created_at",
            "id",
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(
        primary_key=True, default=uuid.uuid4, server_default=func.gen_random_uuid()
    )
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp()
    )
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    @classmethod
    def active(cls) -> ColumnElement[bool]:
        """Return the condition that a token has not expired, by the database's clock."""
        return cls.expires_at > func.clock_timestamp()
