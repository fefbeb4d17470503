"""Retrieval for language models: a seam. Nothing is plugged in yet; this says how to change that.

An endpoint asks for `CurrentDocumentIndex` (in `app/api/deps.py`) and gets what
`app.state.document_index` holds. Write a class with the methods of `DocumentIndex` in a module
beside this one, and set `app.state.document_index` in `lifespan` (in `app/main.py`). One that
counts words, in memory, is enough to build the rest against, and for tests:

```python
import math
from collections import Counter

from app.services.rag import DocumentIndex, Passage


class WordIndex(DocumentIndex):
    def __init__(self) -> None:
        self.documents: dict[str, str] = {}

    async def add(self, document_id: str, text: str) -> None:
        self.documents[document_id] = text

    async def remove(self, document_id: str) -> None:
        self.documents.pop(document_id, None)

    async def search(self, query: str, *, limit: int = 5) -> list[Passage]:
        wanted = count_words(query)
        passages = [
            Passage(document_id, text, similarity(wanted, count_words(text)))
            for document_id, text in self.documents.items()
        ]
        found = [passage for passage in passages if passage.score > 0]
        return sorted(found, key=lambda passage: passage.score, reverse=True)[:limit]


def count_words(text: str) -> Counter[str]:
    return Counter(text.lower().split())


def similarity(a: Counter[str], b: Counter[str]) -> float:
    # The cosine of two vectors: 1 for the same direction, 0 for nothing in common.
    norm = math.hypot(*a.values()) * math.hypot(*b.values())
    return sum(count * b[word] for word, count in a.items()) / norm if norm else 0.0
```

pgvector, in the database that is there already: `add` cuts the text into passages, has a model turn
them into vectors, and inserts them; `search` orders by `embedding <=> query`. The migration, the
column and the index stand in `docs/pgvector.md`.

LlamaIndex does both for you: `VectorStoreIndex.from_vector_store` over a `PGVectorStore` (of
`llama-index-vector-stores-postgres`), then `await index.ainsert(document)` in `add`, and
`await index.as_retriever(similarity_top_k=limit).aretrieve(query)` in `search`.

LangGraph stands above this seam: a node is an async function, so one that retrieves is
`return {"passages": await documents.search(state["question"])}`, and the graph is a service of its
own that takes a `DocumentIndex`.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Passage:
    """Text that was found. score: the nearer the higher, comparable within one search."""

    document_id: str
    text: str
    score: float


class DocumentIndex(Protocol):
    """Finds text by its meaning. Who may search it may read all of it: one index per audience."""

    async def add(self, document_id: str, text: str) -> None:
        """Make a document findable, in place of an older one with this id."""
        ...

    async def remove(self, document_id: str) -> None:
        """Forget a document, if there is one."""
        ...

    async def search(self, query: str, *, limit: int = 5) -> list[Passage]:
        """Return the nearest passages, the best first."""
        ...
