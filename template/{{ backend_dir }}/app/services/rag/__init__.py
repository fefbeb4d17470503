"""Retrieval for language models: an extension point, which `docs/extension-points.md` explains."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Passage:
    """A text that a search found.

    score: higher is nearer; only the scores of one search can be compared.
    """

    document_id: str
    text: str
    score: float


class DocumentIndex(Protocol):
    """Finds texts by their meaning. Users who can search an index can read all of it."""

    async def add(self, document_id: str, text: str) -> None:
        """Add a document. It replaces an older document with this ID."""
        ...

    async def remove(self, document_id: str) -> None:
        """Remove a document, if there is one with this ID."""
        ...

    async def search(self, query: str, *, limit: int = 5) -> list[Passage]:
        """Return the nearest passages, the nearest first."""
        ...
