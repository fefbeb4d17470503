"""Reading the headers of a request."""

from starlette.types import Scope


def find_header(scope: Scope, name: bytes) -> str | None:
    """Return the value of the first header with a name, or None. name: in lower case.

    It is faster than Starlette's `Headers`, which copies all headers.
    """
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return None
