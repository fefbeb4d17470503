"""The one lock that orders all changes to a user's sessions and password."""

import uuid
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import User


async def lock_users(db: AsyncSession, user_ids: Iterable[uuid.UUID]) -> None:
    """Lock the rows of some users until the transaction ends.

    A statement of its own, on purpose: what is read in the statement that waits for a lock is what
    stood there before the wait. Read tokens, sessions and hashes after it, and take times from
    `clock_timestamp()`: `now()` is the time before the wait too. `FOR NO KEY UPDATE` lets rows that
    refer to the user still be inserted. In the order of the ids, so that two users' rows, locked
    when signing in as one while signed in as the other, never wait for each other in a circle.
    """
    await db.execute(
        select(User.id)
        .where(User.id.in_(sorted(set(user_ids))))
        .order_by(User.id)
        .with_for_update(key_share=True)
    )
