"""Validation errors that do not repeat any part of the request."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from app.api.state import state_of


class FieldError(BaseModel):
    """An error in a field of a request: its location, a message, and the kind of error."""

    loc: list[str | int]
    msg: str
    type: str


def safe_errors(app: FastAPI, error: RequestValidationError) -> list[FieldError]:
    """Return the errors without anything that the client sent.

    Pydantic's errors contain the input, and their messages and locations can quote it. Numbers in a
    message are the limits of a field. Only names in the OpenAPI document stay in a location.
    """
    names = _declared_names(app)
    return [
        FieldError(
            loc=[part for part in fault["loc"] if isinstance(part, int) or part in names],
            msg=_message(fault),
            type=fault["type"],
        )
        for fault in error.errors()
    ]


def _message(fault: dict[str, Any]) -> str:
    if any(isinstance(value, str | Exception) for value in fault.get("ctx", {}).values()):
        return "Value is not valid"
    return str(fault["msg"])


def _declared_names(app: FastAPI) -> frozenset[str]:
    """Return the name of every field and parameter in the OpenAPI document."""
    state = state_of(app)
    if state.declared_names is None:
        document = app.openapi()
        schemas = document.get("components", {}).get("schemas", {}).values()
        fields = {name for schema in schemas for name in schema.get("properties", {})}
        parameters = {
            parameter["name"]
            for path in document["paths"].values()
            for operation in path.values()
            for parameter in operation.get("parameters", [])
        }
        state.declared_names = frozenset(
            fields | parameters | {"body", "query", "path", "header", "cookie"}
        )
    return state.declared_names
