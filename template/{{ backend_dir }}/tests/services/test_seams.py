"""The seams: what their docstrings show is typed, runs, and reaches an endpoint."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response

from app.api.deps import CurrentDocumentIndex, CurrentStorage
from app.services import rag, storage

ROOT = Path(__file__).parents[2]

router = APIRouter()


@router.put("/files/{key:path}", status_code=204)
async def write_file(key: str, request: Request, files: CurrentStorage) -> None:
    await files.put(key, await request.body())


@router.get("/files/{key:path}")
async def read_file(key: str, files: CurrentStorage) -> Response:
    return Response(await files.get(key))


@router.get("/search")
async def search(query: str, documents: CurrentDocumentIndex) -> list[str]:
    return [passage.document_id for passage in await documents.search(query, limit=2)]


def write_example(module: ModuleType, folder: Path) -> Path:
    """Write the example of a module's docstring into a file."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", module.__doc__ or "", re.DOTALL | re.MULTILINE)
    path = folder / f"{module.__name__.rpartition('.')[2]}_example.py"
    path.write_text(code, encoding="utf-8")
    return path


def run_example(module: ModuleType, folder: Path) -> dict[str, Any]:
    """Execute the example of a module's docstring, and give what it defines."""
    return runpy.run_path(str(write_example(module, folder)))


@pytest.fixture
def extended(app: FastAPI) -> FastAPI:
    """Return the application, with endpoints that use the seams."""
    app.include_router(router)
    return app


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "use"),
    [
        (storage, "plugged_in: Storage = FolderStorage(Path())"),
        (rag, "plugged_in: DocumentIndex = WordIndex()"),
    ],
    ids=["storage", "rag"],
)
def test_the_example_has_the_types_of_the_seam(
    module: ModuleType, use: str, tmp_path: Path
) -> None:
    path = write_example(module, tmp_path)
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{use}\n", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "mypy", path], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


async def test_the_folder_keeps_files(tmp_path: Path) -> None:
    files: storage.Storage = run_example(storage, tmp_path)["FolderStorage"](tmp_path / "files")

    await files.put("avatars/ada.png", b"old")
    await files.put("avatars/ada.png", b"new")
    assert await files.get("avatars/ada.png") == b"new"
    assert await files.url("avatars/ada.png") is None

    await files.delete("avatars/ada.png")
    await files.delete("avatars/ada.png")
    with pytest.raises(storage.NoSuchFile):
        await files.get("avatars/ada.png")


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "a/../../outside"])
async def test_the_folder_is_not_left(tmp_path: Path, key: str) -> None:
    files: storage.Storage = run_example(storage, tmp_path)["FolderStorage"](tmp_path / "files")

    with pytest.raises(ValueError, match="out of the folder"):
        await files.put(key, b"")


async def test_the_word_index_finds_the_nearest_first(tmp_path: Path) -> None:
    documents: rag.DocumentIndex = run_example(rag, tmp_path)["WordIndex"]()
    await documents.add("cats", "cats sleep")
    await documents.add("cats and dogs", "dogs chase cats")
    await documents.add("boats", "boats float")

    found = await documents.search("Cats sleep")
    assert [passage.document_id for passage in found] == ["cats", "cats and dogs"]
    assert found[0].score == pytest.approx(1)
    assert await documents.search("") == []

    await documents.add("cats", "nothing here")
    await documents.remove("cats and dogs")
    assert await documents.search("cats") == []


async def test_an_endpoint_reaches_the_storage(
    extended: FastAPI, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    extended.state.storage = run_example(storage, tmp_path)["FolderStorage"](tmp_path / "files")

    assert (await client.put("/files/notes/1.txt", content=b"hello")).status_code == 204
    assert (await client.get("/files/notes/1.txt")).content == b"hello"


async def test_an_endpoint_reaches_the_document_index(
    extended: FastAPI, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    documents = extended.state.document_index = run_example(rag, tmp_path)["WordIndex"]()
    await documents.add("a", "cats sleep")

    assert (await client.get("/search", params={"query": "cats"})).json() == ["a"]


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/files/a", "see app/services/storage/__init__.py"),
        ("/search?query=a", "see app/services/rag/__init__.py"),
    ],
)
async def test_while_nothing_is_plugged_in_the_log_says_where_to(
    extended: FastAPI,
    client: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
    path: str,
    advice: str,
) -> None:
    assert (await client.get(path)).status_code == 500
    assert advice in caplog.text
