"""Record the database queries of each request, with their times.

Arguments: the number of users, and how many of them send requests. Each of these users sends every
request twice. Print the seconds of each statement by request, for the first and the second time.
"""

import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from typing import Any

import httpx
from sqlalchemy import event

from app.core.settings import Settings
from app.main import create_app

PASSWORD = "a passphrase for tests"  # noqa: S105 - of temporary users
Noted = dict[str, dict[str, list[float]]]
noted: list[Noted] = []
call = ""


def note(statement: str, seconds: float) -> None:
    noted[-1][call][statement].append(seconds)


def watch(engine: Any) -> None:
    """Record every statement with its duration."""

    def before(connection: Any, *_: Any) -> None:
        connection.info["started"] = time.perf_counter()

    def after(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        note(statement, time.perf_counter() - connection.info["started"])

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)


async def live(client: httpx.AsyncClient, elsewhere: httpx.AsyncClient, user: int) -> None:
    """Send every request that uses the database, as a user who has another session too."""
    form = {"username": f"user-{user}@example.com", "password": PASSWORD}
    change = {"current_password": PASSWORD, "new_password": PASSWORD}
    await ask(elsewhere, "POST", "/auth/login", data=form)
    await ask(client, "POST", "/auth/login", data=form)
    await ask(client, "POST", "/auth/refresh")
    await ask(client, "GET", "/users/me")
    await ask(client, "GET", "/users/me/sessions")
    await ask(client, "DELETE", "/users/me/sessions")
    await ask(client, "PUT", "/users/me/password", json=change)
    await ask(client, "POST", "/auth/logout")


def browser(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.test")


async def ask(client: httpx.AsyncClient, method: str, path: str, **body: Any) -> None:
    global call
    call = f"{method} {path}"
    response = await client.request(method, f"/api/v1{path}", **body)
    response.raise_for_status()


async def main(users: int, callers: int) -> None:
    app = create_app(Settings(environment="test", login_throttle_enabled=True))
    async with app.router.lifespan_context(app):
        watch(app.state.database.engine.sync_engine)
        who = random.sample(range(1, users + 1), callers)
        for _ in range(2):
            noted.append(defaultdict(lambda: defaultdict(list)))
            for user in who:
                async with browser(app) as client, browser(app) as elsewhere:
                    await live(client, elsewhere, user)
    print(json.dumps(noted))


asyncio.run(main(*map(int, sys.argv[1:])))
