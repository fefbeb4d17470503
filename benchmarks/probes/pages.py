"""Measures the list of users: the first and the last page, and the last page with OFFSET.

pages.py USERS
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cursors import Cursors
from app.core.settings import Settings
from app.core.startup import load_or_exit
from app.db.pagination import PageRequest
from app.db.session import Database
from app.models import User
from app.services.user_management import list_users

Result = TypeVar("Result")
LIMIT = 50
CALLS = 200
OFFSET_CALLS = 5


async def main(settings: Settings, users: int) -> None:
    """Print the median times in milliseconds as JSON."""
    database, cursors = Database.from_settings(settings), Cursors(settings)
    async with database.sessions() as db:
        oldest_first = select(User).order_by(User.created_at, User.id)
        before_last = (await db.scalars(oldest_first.offset(LIMIT).limit(1))).one()
        cursor = cursors.issue(
            f"{User.created_at} {User.id}",
            [before_last.created_at.isoformat(), str(before_last.id)],
        )
        requests = {
            "first": PageRequest(cursors, LIMIT),
            "last": PageRequest(cursors, LIMIT, cursor),
        }
        found = {name: [] for name in requests}
        for _ in range(CALLS):  # interleaved, because other programs use the machine too
            for name, request in requests.items():
                seconds, page = await timed(db, lambda request=request: list_users(db, request))
                assert len(page.items) == LIMIT
                found[name].append(seconds)
        offset = select(User).order_by(User.created_at.desc(), User.id.desc())
        offset = offset.offset(users - LIMIT).limit(LIMIT)
        found["offset"] = [
            (await timed(db, lambda: db.scalars(offset)))[0] for _ in range(OFFSET_CALLS)
        ]
    await database.close()
    print(json.dumps({name: median(seconds) * 1000 for name, seconds in found.items()}))


async def timed(db: AsyncSession, call: Callable[[], Awaitable[Result]]) -> tuple[float, Result]:
    """Return how long a call takes, and its result."""
    began = time.perf_counter()
    result = await call()
    seconds = time.perf_counter() - began
    db.expunge_all()  # the next call creates its objects anew
    return seconds, result


asyncio.run(main(load_or_exit(), int(sys.argv[1])))
