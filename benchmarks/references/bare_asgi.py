"""`GET /users/me` with only ASGI and asyncpg: the upper limit for Python on this machine."""

import json
from typing import Any

from statements import find_user, open_pool
from tokens import ACCESS, Refused, check

pool: Any = None


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _run(receive, send)
        return
    try:
        user = await find_user(pool, *check(_access(scope)))
        status, body = 200, _json(user)
    except Refused:
        status, body = 401, b"{}"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _run(receive: Any, send: Any) -> None:
    global pool
    await receive()
    pool = await open_pool()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await pool.close()
    await send({"type": "lifespan.shutdown.complete"})


def _access(scope: dict[str, Any]) -> str | None:
    for name, value in scope["headers"]:
        if name == b"cookie":
            for pair in value.decode("latin-1").split("; "):
                if pair.startswith(f"{ACCESS}="):
                    return pair.partition("=")[2]
    return None


def _json(user: Any) -> bytes:
    return json.dumps(
        {
            "id": str(user["id"]),
            "email": user["email"],
            "is_active": user["is_active"],
            "created_at": user["created_at"].isoformat(),
        }
    ).encode()
