"""The extension points: an endpoint gets the objects in the application's state."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Response

from app.api.deps import CurrentDocumentIndex, CurrentStorage
from app.services.rag import Passage

router = APIRouter()


class OneFile:
    """A storage that contains one file."""

    async def put(self, key: str, content: bytes) -> None:
        raise NotImplementedError

    async def get(self, key: str) -> bytes:
        return f"content of {key}".encode()

    async def delete(self, key: str) -> None:
        raise NotImplementedError

    async def url(self, key: str, *, seconds: int = 300) -> str | None:
        raise NotImplementedError


class OneDocument:
    """An index that finds one document."""

    async def add(self, document_id: str, text: str) -> None:
        raise NotImplementedError

    async def remove(self, document_id: str) -> None:
        raise NotImplementedError

    async def search(self, query: str, *, limit: int = 5) -> list[Passage]:
        return [Passage("a", query, 1)][:limit]


@router.get("/files/{key}")
async def read_file(key: str, storage: CurrentStorage) -> Response:
    return Response(await storage.get(key))


@router.get("/search")
async def search(query: str, documents: CurrentDocumentIndex) -> list[str]:
    return [passage.text for passage in await documents.search(query)]


@pytest.fixture
def extended(app: FastAPI) -> FastAPI:
    """Return the application with endpoints that use the extension points."""
    app.include_router(router)
    return app


async def test_endpoint_gets_the_storage_and_the_index(
    extended: FastAPI, client: httpx.AsyncClient
) -> None:
    extended.state.storage = OneFile()
    extended.state.document_index = OneDocument()

    assert (await client.get("/files/a")).content == b"content of a"
    assert (await client.get("/search?query=cats")).json() == ["cats"]


@pytest.mark.parametrize("path", ["/files/a", "/search?query=cats"])
async def test_error_log_names_the_docs_page_if_no_extension_is_set(
    extended: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    extended.state.storage = extended.state.document_index = None

    assert (await client.get(path)).status_code == 500
    assert "see docs/extension-points.md" in caplog.text
