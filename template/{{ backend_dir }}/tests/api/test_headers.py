"""Headers that protect a response, on the template's endpoints and on those that a team adds."""

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Response
from starlette.types import Receive, Scope, Send

from app.api.deps import CurrentUser
from tests.conftest import AppFactory, ClientFactory

ME = "/api/v1/users/me"


@pytest.fixture
def team(app: FastAPI) -> None:
    """Add endpoints such as a team writes them."""
    router = APIRouter()

    @router.get("/api/v1/notes")
    async def notes(user: CurrentUser) -> str:
        return user.email

    @router.get("/files/1")
    async def file(user: CurrentUser) -> str:
        return user.email

    @router.get("/api/v1/prices")
    async def prices(response: Response) -> str:
        response.headers["Cache-Control"] = "public, max-age=60"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return "prices"

    app.include_router(router)


@pytest.mark.usefixtures("team")
@pytest.mark.parametrize(
    "path", ["/api/v1/notes", "/files/1", "/api/v1/nowhere", f"{ME}/sessions/x", ME]
)
async def test_nothing_that_a_user_sees_is_cached(signed_in: httpx.AsyncClient, path: str) -> None:
    response = await signed_in.get(path)
    assert response.headers.get_list("cache-control") == ["no-store"]


@pytest.mark.usefixtures("team")
async def test_an_endpoint_chooses_its_own_policy(client: httpx.AsyncClient) -> None:
    headers = (await client.get("/api/v1/prices")).headers
    assert headers.get_list("cache-control") == ["public, max-age=60"]
    assert headers.get_list("cross-origin-resource-policy") == ["cross-origin"]


@pytest.mark.parametrize("path", ["/health", "/docs", "/docs/files/swagger-ui.css", "/nowhere", ME])
async def test_other_sites_can_not_embed_a_response(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.headers.get_list("cross-origin-resource-policy") == ["same-site"]


def below(app: FastAPI, prefix: str) -> Any:
    """Serve an application as `uvicorn --root-path` does: the path contains the prefix."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        path = prefix + scope["path"]
        await app({**scope, "root_path": prefix, "path": path}, receive, send)

    return served


async def test_a_prefix_before_all_paths_changes_no_header_and_no_log_line(
    make_app: AppFactory, make_client: ClientFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with make_app() as app:
        client = make_client(below(app, "/shop"))
        response = await client.get(ME)
        await client.get("/health")

    assert response.headers["cache-control"] == "no-store"
    lines = [it.msg for it in caplog.records if it.name.endswith("access_log")]
    assert [line["route"] for line in lines if isinstance(line, dict)] == [ME]
