"""The state of the application."""

from dataclasses import dataclass, field
from typing import Self

from fastapi import FastAPI

from app.api.cookies import AuthCookies
from app.core.cursors import Cursors
from app.core.security import PasswordHasher
from app.core.settings import Settings
from app.db.revisions import Revisions
from app.db.session import Database
from app.services.rag import DocumentIndex
from app.services.rate_limits import RateLimiter
from app.services.resources import Resources
from app.services.sessions.watching import SessionWatcher
from app.services.storage import Storage


@dataclass(kw_only=True)
class AppState(Resources):
    """The resources and the state that all requests of a process share.

    storage, document_index: the extension points; None until a project sets them.
    declared_names: the names of all fields and parameters; None until an error needs them.
    watcher: ends the streams whose session is no longer active.
    draining: whether the process is shutting down; `/health/ready` then responds with 503.
    """

    cookies: AuthCookies
    cursors: Cursors
    revisions: Revisions = field(init=False)
    watcher: SessionWatcher = field(init=False)
    storage: Storage | None = None
    document_index: DocumentIndex | None = None
    declared_names: frozenset[str] | None = None
    draining: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Create the state. This opens no connection."""
        return cls(
            settings=settings,
            database=Database.from_settings(settings),
            hasher=PasswordHasher(settings.bcrypt_rounds),
            rate_limiter=RateLimiter(settings),
            cookies=AuthCookies(settings),
            cursors=Cursors(settings),
        )

    def open(self) -> None:
        """Read the migrations. An image without them can still create the application."""
        self.revisions = Revisions.load()
        self.watcher = SessionWatcher(self.database)

    def end_streams(self) -> None:
        """End all streams, because the server stops."""
        self.watcher.stop()

    async def close(self) -> None:
        """Close every connection, and stop the threads."""
        await self.watcher.close()
        self.hasher.close()
        await self.database.close()


def state_of(app: FastAPI) -> AppState:
    """Return the state of an application that `create_app` built."""
    state: AppState = app.state  # type: ignore[assignment]  # see `create_app`
    return state
