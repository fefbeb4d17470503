"""The OpenAPI document, from which clients are generated."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException

from app.api import problems
from app.api.problem_schemas import problem_types
from app.api.problems import Problem, problem_responses
from app.core.settings import ExplicitSettings
from app.main import create_app
from app.services.errors import ServiceError
from tests.conftest import SECRET, AppFactory, ClientFactory

Document = dict[str, Any]


@pytest.fixture
def fresh_app() -> FastAPI:
    """Return an application that never starts, and to which a test may add endpoints."""
    return create_app(
        ExplicitSettings(database_url="postgresql://localhost/none", jwt_secret=SECRET)
    )


def operation_ids(document: Document) -> dict[tuple[str, str], str]:
    """Return the ID of each operation by method and path."""
    return {
        (method, path): operation["operationId"]
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def router_with(name: str, tags: list[str | Any], **options: Any) -> APIRouter:
    """Return a router at `/NAME` with one endpoint, `list_all`."""
    router = APIRouter(prefix=f"/{name}", tags=tags)

    @router.get("", **options)
    async def list_all() -> None:
        """List them all."""

    return router


def test_operation_ids_are_the_names_of_the_endpoints(fresh_app: FastAPI) -> None:
    ids = operation_ids(fresh_app.openapi())

    # A project also has its own endpoints.
    assert (
        ids.items()
        >= {
            ("get", "/health"): "health",
            ("get", "/health/ready"): "ready",
            ("post", "/api/v1/auth/login"): "login",
            ("post", "/api/v1/auth/refresh"): "refresh",
            ("post", "/api/v1/auth/logout"): "logout",
            ("post", "/api/v1/users"): "createUser",
            ("get", "/api/v1/users/me"): "readMe",
            ("put", "/api/v1/users/me/password"): "changePassword",
            ("get", "/api/v1/users/me/sessions"): "listSessions",
            ("delete", "/api/v1/users/me/sessions"): "endOtherSessions",
            ("delete", "/api/v1/users/me/sessions/{session_id}"): "endSession",
            ("get", "/api/v1/admin/users"): "listUsers",
            ("get", "/api/v1/admin/users/{user_id}"): "readUser",
            ("patch", "/api/v1/admin/users/{user_id}"): "updateUser",
            ("delete", "/api/v1/admin/users/{user_id}/sessions"): "endSessionsOfUser",
            ("post", "/api/v1/admin/users/{user_id}/email-link"): "sendLinkToUser",
            ("get", "/api/v1/admin/audit-events"): "listAuditEvents",
        }.items()
    )


def test_endpoints_with_the_same_name_are_distinguished_by_tag(fresh_app: FastAPI) -> None:
    fresh_app.include_router(router_with("projects", ["projects"]))
    fresh_app.include_router(router_with("tasks", ["team tasks"]))
    ids = operation_ids(fresh_app.openapi())

    assert ids["get", "/projects"] == "projectsListAll"
    assert ids["get", "/tasks"] == "teamTasksListAll"
    assert ids["get", "/api/v1/users/me"] == "readMe"


def test_endpoints_without_a_distinguishing_tag_keep_fastapi_ids(fresh_app: FastAPI) -> None:
    fresh_app.include_router(router_with("old", []))
    fresh_app.include_router(router_with("new", []))
    ids = operation_ids(fresh_app.openapi())

    assert ids["get", "/old"] == "list_all_old_get"
    assert ids["get", "/new"] == "list_all_new_get"
    assert len(set(ids.values())) == len(ids)


def test_explicit_operation_id_is_kept(fresh_app: FastAPI) -> None:
    fresh_app.include_router(router_with("mine", ["mine"], operation_id="listAll"))
    fresh_app.include_router(router_with("other", ["other"]))
    ids = operation_ids(fresh_app.openapi())

    assert ids["get", "/mine"] == "listAll"
    assert ids["get", "/other"] == "otherListAll"


def test_every_error_has_the_schema_of_its_status(fresh_app: FastAPI) -> None:
    document = fresh_app.openapi()
    schemas = document["components"]["schemas"]
    references = {
        (status, response["content"]["application/problem+json"]["schema"]["$ref"])
        for item in document["paths"].values()
        for operation in item.values()
        for status, response in operation["responses"].items()
        if status >= "400"
    }

    assert references == {
        (status, f"#/components/schemas/Problem{status}")
        for status in ("401", "403", "404", "409", "413", "415", "422", "429", "503")
    }
    for status, _ in references:
        whole, narrowed = schemas[f"Problem{status}"]["allOf"]
        assert whole == {"$ref": "#/components/schemas/ProblemDocument"}
        assert narrowed["properties"]["status"]["const"] == int(status)
        assert narrowed["properties"]["type"]["enum"] == problem_types(int(status))
        assert narrowed["required"] == ["status", "type"]


def test_problem_type_lists_all_known_types(fresh_app: FastAPI) -> None:
    schema = fresh_app.openapi()["components"]["schemas"]["ProblemDocument"]
    types = set(schema["properties"]["type"]["enum"])
    declared = {it for it in vars(problems).values() if isinstance(it, Problem)}

    assert types >= {it.type for it in (*problems.PROBLEMS.values(), *declared)}
    assert types >= {"/problems/not-found", "/problems/method-not-allowed"}
    assert problem_types(409) == [
        "/problems/conflict",
        "/problems/email-taken",
        "/problems/too-many-tokens",
        "/problems/user-not-active",
    ]


def test_the_errors_of_a_field_are_optional_and_never_null(fresh_app: FastAPI) -> None:
    schema = fresh_app.openapi()["components"]["schemas"]["ProblemDocument"]

    assert schema["properties"]["errors"] == {
        "items": {"$ref": "#/components/schemas/FieldError"},
        "title": "Errors",
        "type": "array",
    }
    assert schema["required"] == ["type", "title", "status", "detail", "request_id"]


def test_a_problem_that_a_team_adds_is_in_the_document(
    fresh_app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    class QuotaExceeded(ServiceError):
        """The plan allows no more."""

    problem = Problem(402, "quota-exceeded", "Quota exceeded", "Choose a larger plan.")
    monkeypatch.setitem(problems.PROBLEMS, QuotaExceeded, problem)
    fresh_app.include_router(router_with("paid", [], responses=problem_responses(402)))
    schemas = fresh_app.openapi()["components"]["schemas"]

    assert schemas["Problem402"]["allOf"][1]["properties"]["type"]["enum"] == [
        "/problems/payment-required",
        "/problems/quota-exceeded",
    ]
    assert "/problems/quota-exceeded" in schemas["ProblemDocument"]["properties"]["type"]["enum"]


def test_names_of_statuses_are_the_same_for_every_python(fresh_app: FastAPI) -> None:
    responses = fresh_app.openapi()["paths"]["/api/v1/users"]["post"]["responses"]

    assert responses["413"]["description"] == "Content Too Large"
    assert responses["422"]["description"] == "Unprocessable Content"
    assert "/problems/unprocessable-content" in problem_types(422)


@pytest.mark.parametrize("status", [400, 402, 404, 409, 413, 415, 418, 422, 500])
async def test_an_http_exception_has_a_type_of_its_status(
    make_app: AppFactory, make_client: ClientFactory, status: int
) -> None:
    async with make_app() as app:

        @app.get("/raises")
        async def raises() -> None:
            raise HTTPException(status)

        body = (await make_client(app).get("/raises")).json()

    assert body["type"] in problem_types(body["status"])
    assert "errors" not in body
