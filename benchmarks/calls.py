"""Requests per second, as a share of the rate of the references."""

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from benchmarks.figures import Figure, Target, against, ratios
from benchmarks.stage import Stage, access_cookie
from benchmarks.wrk import CONNECTIONS, Load, fire
from tests.support.production import ME, REFRESH
from tests.support.servers import Server

HEALTH: Final = "/health"


def measure(stage: Stage, rounds: int, seconds: float) -> list[Figure]:
    """Load each program in turn, in each round. seconds: the duration of each load."""
    with (
        stage.app() as app,
        stage.reference("bare_fastapi") as fastapi,
        stage.reference("bare_fastapi", REFERENCE_RESET="off") as no_reset,
        stage.reference("bare_asgi") as asgi,
    ):
        cookie = access_cookie(stage, app)

        def get(server: Server, path: str) -> Callable[[], Load]:
            return lambda: Load(server.port, path, cookie)

        def refresh(server: Server) -> Callable[[], Load]:
            # Each connection has its own thread and session, and each run uses new sessions.
            def load() -> Load:
                tokens = [next(stage.tokens) for _ in range(CONNECTIONS)]
                script = ["refresh", *tokens]
                return Load(server.port, REFRESH, {}, script, threads=CONNECTIONS)

            return load

        loads = {
            "me": get(app, ME),
            "me, FastAPI": get(fastapi, ME),
            "me, FastAPI without reset": get(no_reset, ME),
            "me, ASGI": get(asgi, ME),
            "health": get(app, HEALTH),
            "health, FastAPI": get(fastapi, HEALTH),
            "refresh": refresh(app),
            "refresh, FastAPI": refresh(fastapi),
        }
        rates = defaultdict[str, list[float]](list)
        for _ in range(rounds):
            for name, load in loads.items():
                rates[name].append(fire(load(), seconds).rate)

    def figure(title: str, ours: str, theirs: str, least: float | None = None) -> Figure:
        return Figure(
            title,
            ratios(rates[ours], rates[theirs]),
            against(rates[ours], rates[theirs], "a second"),
            Target("≥", least) if least else None,
        )

    me = "`GET /api/v1/users/me`, as a share of"
    return [
        figure(f"{me} a bare FastAPI handler on raw asyncpg", "me", "me, FastAPI", 0.45),
        figure(
            f"{me} that handler, if its pool does not reset connections (see below)",
            "me",
            "me, FastAPI without reset",
        ),
        figure(f"{me} bare ASGI on raw asyncpg", "me", "me, ASGI"),
        figure("`GET /health`, as a share of bare FastAPI", "health", "health, FastAPI", 0.8),
        figure(
            "`POST /auth/refresh`, as a share of the same statements by hand on asyncpg",
            "refresh",
            "refresh, FastAPI",
            0.3,
        ),
    ]
