"""The path of a request as the application's routes see it."""

from starlette.types import Scope


def route_path(scope: Scope) -> str:
    """Return the path without the prefix that `uvicorn --root-path` puts before every path."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "").rstrip("/")
    return path[len(prefix) :] if path.startswith(f"{prefix}/") else path
