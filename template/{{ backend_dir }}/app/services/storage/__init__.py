"""Storage of files: an extension point. `docs/extension-points.md` shows how to implement it."""

from typing import Protocol

from app.services.errors import ServiceError


class NoSuchFile(ServiceError):
    """No file has this key."""


class Storage(Protocol):
    """Stores files by key, such as `avatars/0b5c.png`; the application chooses the keys."""

    async def put(self, key: str, content: bytes) -> None:
        """Store a file. It replaces an older file with this key."""
        ...

    async def get(self, key: str) -> bytes:
        """Return the content of a file. Raise `NoSuchFile`."""
        ...

    async def delete(self, key: str) -> None:
        """Delete a file, if there is one with this key."""
        ...

    async def url(self, key: str, *, seconds: int = 300) -> str | None:
        """Return a URL from which a browser can get the file for `seconds`.

        Return None if the storage has no URLs. The endpoint then sends what `get` returns.
        """
        ...
