"""Reading a request's headers, several times per request."""

from starlette.types import Scope


def find_header(scope: Scope, name: bytes) -> str | None:
    """Give the first header of a name, in lower case, or None.

    What Starlette's `Headers` does too, without the copy that it makes each time.
    """
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return None
