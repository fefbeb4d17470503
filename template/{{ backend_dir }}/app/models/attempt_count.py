"""Counts of attempts, for the rate limits."""

from datetime import datetime

from sqlalchemy import DateTime, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class AttemptCount(Base):
    """The number of attempts that one rate limit has counted in its current period.

    key: a keyed hash of the limit and of its subject. The text that a client sent is not stored.
    window_ends_at: the end of the period. From then on the row is ignored, and `purge` deletes it.
    """

    __tablename__ = "attempt_counts"

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    attempts: Mapped[int]
    window_ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
