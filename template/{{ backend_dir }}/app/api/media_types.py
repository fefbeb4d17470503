"""The media type of a request's body."""

from http import HTTPStatus

from fastapi import HTTPException, Request


def has_wrong_media_type(request: Request) -> bool:
    """Return whether the request has a body of a media type that the endpoint does not read."""
    field = getattr(request.scope.get("route"), "body_field", None)
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if field is None or not sent:
        return False
    expected = getattr(field.field_info, "media_type", "application/json")
    if expected == "application/json":
        return sent != expected and not (sent.startswith("application/") and sent.endswith("+json"))
    return sent != expected


async def require_media_type(request: Request) -> None:
    """Reject a body that FastAPI would read although the endpoint does not accept its type."""
    if has_wrong_media_type(request):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
