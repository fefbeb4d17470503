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

    The lock is a separate statement, because a statement that waits for a lock reads the data from
    before the wait. Read tokens, sessions and hashes after it, and take times from
    `clock_timestamp()`, because `now()` is the time before the wait too. `FOR NO KEY UPDATE` allows
    other transactions to insert rows that refer to the user. The statement locks in the order of
    the IDs. When a client signs in as one user while signed in as another, two transactions with
    the same two users therefore never wait for each other.
    """
    await db.execute(LOCK, {"user_ids": list(set(user_ids))})
