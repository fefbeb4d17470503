"""The schemas of problem documents: one for each status, with the types that it may have."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from app.api.problems import (
    OTHER_PROBLEMS,
    PROBLEMS,
    ProblemDocument,
    http_problem,
    schema_name,
)

# The errors of a request that reaches no endpoint, and of one that fails unexpectedly.
UNDOCUMENTED: Final = (404, 405, 500)


def problem_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas, by name, of the errors that an OpenAPI document's operations have."""
    statuses = set(_error_statuses(document))
    schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = schema.pop("$defs")
    types = {it for status in {*statuses, *UNDOCUMENTED} for it in problem_types(status)}
    types |= {problem.type for problem in (*PROBLEMS.values(), *OTHER_PROBLEMS)}
    schema["properties"]["type"]["enum"] = sorted(types)
    schemas["ProblemDocument"] = schema
    for status in sorted(statuses):
        schemas[schema_name(status)] = {
            "description": f"The body of a {status}.",
            "allOf": [
                {"$ref": "#/components/schemas/ProblemDocument"},
                _narrowed(status),
            ],
        }
    return schemas


def problem_types(status: int) -> list[str]:
    """Return the `type` of every problem that a response with this status may contain.

    This includes the type that an `HTTPException` with this status leads to.
    """
    problems = {*PROBLEMS.values(), *OTHER_PROBLEMS, http_problem(status)}
    return sorted({problem.type for problem in problems if problem.status == status})


def _narrowed(status: int) -> dict[str, Any]:
    properties: dict[str, Any] = {"status": {"const": status, "type": "integer"}}
    if types := problem_types(status):
        properties["type"] = {"enum": types, "type": "string"}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _error_statuses(document: dict[str, Any]) -> Iterator[int]:
    for item in document["paths"].values():
        for operation in item.values():
            for status in operation["responses"]:
                if status.isdecimal() and int(status) >= HTTPStatus.BAD_REQUEST:
                    yield int(status)
