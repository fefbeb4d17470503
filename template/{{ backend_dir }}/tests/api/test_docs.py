import re

import httpx
import pytest
from fastapi import FastAPI

from tests.conftest import AppFactory, ClientFactory


async def test_docs_load_all_files_from_this_server(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    links = re.findall(r'(?:href|src)="([^"]+)"', page.text)

    assert page.status_code == 200
    assert len(links) == 3
    for link in links:
        assert link.startswith("/docs/files/")
        assert (await client.get(link)).status_code == 200


async def test_docs_do_not_use_the_host_header(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/docs", headers={"host": "evil.test"})

    assert "evil.test" not in page.text


async def test_root_redirects_to_the_docs_and_ignores_the_host_header(
    client: httpx.AsyncClient,
) -> None:
    response = await client.get("/", headers={"host": "evil.test"})

    assert (response.status_code, response.headers["location"]) == (307, "/docs")
    assert (await client.head("/")).status_code == 307
    assert (await client.post("/")).status_code == 404


async def test_project_route_at_the_root_replaces_the_redirect_to_the_docs(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    app.add_api_route("/", lambda: "ours")

    assert (await client.get("/")).json() == "ours"


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"environment": "production"}, 404),
        ({"environment": "production", "docs_enabled": True}, 200),
        ({"environment": "staging"}, 200),
        ({"docs_enabled": False}, 404),
    ],
    ids=str,
)
async def test_the_docs_are_off_in_production(
    make_app: AppFactory, make_client: ClientFactory, settings: dict[str, object], status: int
) -> None:
    async with make_app(**settings) as app:
        client = make_client(app)
        for path in ("/docs", "/openapi.json"):
            assert (await client.get(path)).status_code == status
        assert (await client.get("/")).status_code == (307 if status == 200 else 404)


async def test_openapi_document_names_the_cookie_and_errors_of_endpoints(
    make_app: AppFactory, make_client: ClientFactory
) -> None:
    async with make_app(cookie_name_prefix="shop") as app:
        document = (await make_client(app).get("/openapi.json")).json()
        again = (await make_client(app).get("/openapi.json")).json()

    assert document == again
    schemes = document["components"]["securitySchemes"]
    names = [scheme["name"] for scheme in schemes.values() if scheme["type"] == "apiKey"]
    assert names == ["__Host-shop-access"]
    assert document["paths"]["/api/v1/users/me"]["get"]["security"][0] == {"AccessCookie": []}
    refresh = document["paths"]["/api/v1/auth/refresh"]["post"]["responses"]
    assert set(refresh) == {"204", "401", "403", "413", "503"}
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"]
