"""The one lock that orders all changes to a user's sessions and password."""

import uuid
from collections.abc import Iterable

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import User

LOCK = (
    select(User.id)
    .where(User.id == any_(bindparam("user_ids", type_=ARRAY(Uuid))))
    .order_by(User.id)
    .with_for_update(key_share=True)
)


async def lock_users(db: AsyncSession, user_ids: Iterable[uuid.UUID]) -> None:
    """Lock the rows of some users until the transaction ends.

    A statement of its own, on purpose: what is read in the statement that waits for a lock is what
    stood there before the wait. Read tokens, sessions and hashes after it, and take times from
    `clock_timestamp()`: `now()` is the time before the wait too. `FOR NO KEY UPDATE` lets rows that
    refer to the user still be inserted. In the order of the ids, so that two users' rows, locked
    when signing in as one while signed in as the other, never wait for each other in a circle.
    """
    await db.execute(LOCK, {"user_ids": list(set(user_ids))})
