"""Ending streams, such as WebSockets, when their session is no longer active."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import ARRAY, Uuid, any_, bindparam, func, select

from app.db.session import Database, DatabaseUnavailable
from app.models import RefreshToken, User, UserSession
from app.services.errors import ServerStopping, SessionNotActive, TooManyStreams
from app.services.sessions.authentication import AuthContext

log = structlog.stdlib.get_logger(__name__)

CHECK_SECONDS: Final = 5.0
"""How often the sessions of all open streams are checked."""
UNCHECKED_SECONDS: Final = 60.0
"""How long streams stay open while the database is unavailable."""
MAX_STREAMS: Final = 50
"""How many streams one user can have open in one process."""

ACTIVE_SESSIONS: Final = (
    select(UserSession.id, User.role)
    .join(User, User.id == UserSession.user_id)
    .join(RefreshToken, RefreshToken.session_id == UserSession.id)
    .where(
        UserSession.id == any_(bindparam("session_ids", type_=ARRAY(Uuid))),
        User.is_active,
        UserSession.active(),
        # A session without a valid refresh token has been idle for too long.
        RefreshToken.revoked_at.is_(None),
        RefreshToken.expires_at > func.clock_timestamp(),
    )
)


class SessionNotChecked(DatabaseUnavailable):
    """The database has been unavailable for so long that the session may no longer be active."""


@dataclass(eq=False)
class Stream:
    """An open stream. reason: why the server has ended it, if it has."""

    auth: AuthContext
    timeout: asyncio.Timeout
    task: asyncio.Task[Any] | None
    reason: Exception | None = None

    def end(self, reason: Exception) -> None:
        """Cancel what the task of the stream is waiting for."""
        if self.reason is None:
            self.reason = reason
            self.timeout.reschedule(asyncio.get_running_loop().time())

    def end_again(self) -> None:
        """Cancel a task that goes on although the stream has ended.

        Something may have caught the cancellation, such as `asyncio.wait_for` in Python 3.11. The
        timeout counts one cancellation.
        """
        if self.task is not None:
            self.task.uncancel()
            self.task.cancel()


class SessionWatcher:
    """Checks the sessions of all open streams of a process, in one query every few seconds.

    It needs a database connection only during the query. While no stream is open, it does nothing.
    """

    def __init__(self, database: Database) -> None:
        self.streams: set[Stream] = set()
        self._database = database
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @asynccontextmanager
    async def watch(self, auth: AuthContext) -> AsyncIterator[None]:
        """Cancel the block when the session is no longer active, or when the server stops.

        A changed role also ends the stream, because it may allow less. The client can open another.

        Raise `SessionNotActive` or `ServerStopping` then, `SessionNotChecked` if the database has
        been unavailable for a minute, and `TooManyStreams` before the block.
        """
        if self._stopping:
            raise ServerStopping
        if sum(it.auth.user.id == auth.user.id for it in self.streams) >= MAX_STREAMS:
            raise TooManyStreams
        stream = None
        try:
            async with asyncio.timeout(None) as timeout:
                stream = Stream(auth, timeout, asyncio.current_task())
                self._add(stream)
                try:
                    yield
                finally:
                    self.streams.discard(stream)
        except Exception:
            # After the end, anything may fail, such as writing to a client that reads nothing.
            if stream is None or stream.reason is None:
                raise
            names = {"user_id": str(auth.user.id), "session_id": str(auth.session_id)}
            log.info("stream_ended", reason=type(stream.reason).__name__, **names)
            raise stream.reason from None

    def stop(self) -> None:
        """End all streams, because the server stops, and accept no more."""
        self._stopping = True
        self._end(self.streams, ServerStopping)

    async def close(self) -> None:
        """End the task that checks the sessions."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _add(self, stream: Stream) -> None:
        self.streams.add(stream)
        if self._task is None or self._task.done():
            # Without the context of the request, whose ID would be in the log.
            self._task = asyncio.create_task(self._check_repeatedly(), context=Context())

    async def _check_repeatedly(self) -> None:
        loop = asyncio.get_running_loop()
        checked_at = loop.time()
        while self.streams:
            await asyncio.sleep(CHECK_SECONDS)
            for stream in filter(lambda it: it.reason, self.streams):
                stream.end_again()
            streams = set(self.streams)  # not those that are added during the query
            try:
                await self._check(streams)
                checked_at = loop.time()
            except Exception as error:
                reason = str(error) or type(error).__name__
                log.warning("streams_not_checked", reason=reason, streams=len(streams))
                if loop.time() - checked_at >= UNCHECKED_SECONDS:
                    self._end(streams, SessionNotChecked)

    async def _check(self, streams: set[Stream]) -> None:
        values = {"session_ids": list({it.auth.session_id for it in streams})}
        async with self._database.reads.connect() as connection:
            active = {tuple(it) for it in await connection.execute(ACTIVE_SESSIONS, values)}
        ended = [it for it in streams if (it.auth.session_id, it.auth.user.role) not in active]
        self._end(ended, SessionNotActive)

    def _end(self, streams: Collection[Stream], reason: type[Exception]) -> None:
        for stream in [*streams]:
            stream.end(reason())
