"""Cursors: where the next page of a list begins."""

from collections.abc import Sequence
from typing import Any

import jwt

from app.core.settings import Settings


class InvalidCursor(Exception):
    """The client did not receive the cursor from this list."""


class Cursors:
    """Signs and verifies cursors, so that only a position that the server chose reaches a query.

    A client can read the values in a cursor, but cannot change them. The keys are derived from the
    JWT secrets, and differ from those of all other tokens.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.derive_keys("cursor")

    def issue(self, list_name: str, values: Sequence[Any]) -> str:
        """Return the cursor of a position: the values by which the list is sorted, as JSON."""
        return jwt.encode({"list": list_name, "after": list(values)}, self._keys[0], "HS256")

    def verify(self, list_name: str, cursor: str) -> list[Any]:
        """Return the values of a cursor. Raise `InvalidCursor`, also for another list's cursor."""
        for key in self._keys:
            try:
                payload = jwt.decode(cursor, key, algorithms=["HS256"])
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError:
                break
            if payload.get("list") == list_name:
                return list(payload["after"])
        raise InvalidCursor
