"""The OpenAPI document, and Swagger UI, which loads nothing from a CDN."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from app.api.deps import ACCESS_COOKIE, get_current_user
from app.api.operation_ids import shorten_operation_ids
from app.api.problem_schemas import problem_schemas
from app.api.state import state_of


def describe(app: FastAPI) -> None:
    """Complete the OpenAPI document: operation IDs, the errors' schemas, the cookie's name."""
    generate = app.openapi
    cookies = state_of(app).cookies

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = generate()
        shorten_operation_ids(document)
        document["components"]["schemas"].update(problem_schemas(document))
        schemes = document["components"]["securitySchemes"]
        schemes[ACCESS_COOKIE.scheme_name]["name"] = cookies.access_name
        _add_cookie(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _add_cookie(document: dict[str, Any]) -> None:
    """Name the access cookie as an alternative to the token, unless an endpoint needs both."""
    cookie: dict[str, list[str]] = {ACCESS_COOKIE.scheme_name: []}
    token: dict[str, list[str]] = {get_current_user.scheme_name: []}
    for item in document["paths"].values():
        for operation in item.values():
            security = operation.get("security", [])
            if token in security and cookie in security:
                security.remove(token)  # another dependency needs a session
            elif token in security:
                security.insert(0, cookie)


def add_docs(app: FastAPI) -> None:
    """Serve Swagger UI at `/docs`, with its files from the package `fastapi-swagger`.

    `/` redirects to it, unless the project has a route for `/`.
    """
    files = StaticFiles(packages=[("fastapi_swagger", "resources")])
    app.mount("/docs/files", files, name="swagger")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}/docs/files/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/files/swagger-ui.css",
            swagger_favicon_url=f"{root}/docs/files/favicon-32x32.png",
            swagger_ui_parameters={"withCredentials": True, "tryItOutEnabled": True},
        )

    not_found = app.router.default

    async def lead_to_docs(scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "").rstrip("/")
        is_get = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if is_get and scope["path"] in (root, f"{root}/"):
            # Without a host, because the client chooses the Host header.
            await RedirectResponse(f"{root}/docs")(scope, receive, send)
        else:
            await not_found(scope, receive, send)

    # A route for `/` would take precedence over one that the project adds later.
    app.router.default = lead_to_docs
