"""Attempts at passwords, counted."""

from datetime import datetime

from sqlalchemy import DateTime, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class AttemptCount(Base):
    """How many attempts one key has made in its window.

    key: a keyed hash of who tried; what was typed into a form is not stored.
    window_ends_at: from then on the row counts for nothing, and `purge` deletes it.
    """

    __tablename__ = "attempt_counts"

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    attempts: Mapped[int]
    window_ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
