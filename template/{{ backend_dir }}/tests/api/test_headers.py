"""Security headers of responses, both of built-in endpoints and of those that a team adds."""

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
    """Add endpoints like those that a team writes."""
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
async def test_responses_to_authenticated_users_are_not_cached(
    signed_in: httpx.AsyncClient, path: str
) -> None:
    response = await signed_in.get(path)
    assert response.headers.get_list("cache-control") == ["no-store"]


@pytest.mark.usefixtures("team")
async def test_endpoint_can_set_its_own_cache_and_resource_policy(
    client: httpx.AsyncClient,
) -> None:
    headers = (await client.get("/api/v1/prices")).headers
    assert headers.get_list("cache-control") == ["public, max-age=60"]
    assert headers.get_list("cross-origin-resource-policy") == ["cross-origin"]


@pytest.mark.parametrize("path", ["/health", "/docs", "/docs/files/swagger-ui.css", "/nowhere", ME])
async def test_other_sites_cannot_embed_a_response(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.headers.get_list("cross-origin-resource-policy") == ["same-site"]


def below(app: FastAPI, prefix: str) -> Any:
    """Serve an application like `uvicorn --root-path`: the path contains the prefix."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        path = prefix + scope["path"]
        await app({**scope, "root_path": prefix, "path": path}, receive, send)

    return served


async def test_root_path_changes_neither_headers_nor_the_access_log(
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
