"""Lists that are returned in pages."""

import secrets
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core.cursors import Cursors, InvalidCursor
from app.core.settings import ExplicitSettings
from app.db.pagination import PageRequest, fetch_page
from app.models import User
from tests.conftest import SECRET, add_user

OTHER_SECRET = secrets.token_urlsafe(48)
USERS = "/api/v1/admin/users"


async def emails(
    client: httpx.AsyncClient, **params: str | int | None
) -> tuple[list[str], str | None]:
    """Return the addresses on a page, and its cursor."""
    response = await client.get(USERS, params=params)
    assert response.status_code == 200, response.text
    page = response.json()
    return [user["email"] for user in page["items"]], page["next_cursor"]


async def test_pages_contain_each_row_once_although_rows_are_inserted_and_deleted(
    app: FastAPI, admin: httpx.AsyncClient
) -> None:
    for number in range(4):
        await add_user(app, f"{number}@example.com")

    first, cursor = await emails(admin, limit=2)
    await add_user(app, "later@example.com")
    async with app.state.database.sessions.begin() as db:
        await db.delete(await db.scalar(select(User).where(User.email == "2@example.com")))
    second, cursor = await emails(admin, limit=2, cursor=cursor)
    third, end = await emails(admin, limit=2, cursor=cursor)

    assert first == ["3@example.com", "2@example.com"]
    assert second == ["1@example.com", "0@example.com"]
    assert third == ["admin@example.com"]
    assert end is None


async def test_last_page_is_full_and_has_no_cursor(admin: httpx.AsyncClient) -> None:
    assert await emails(admin, limit=1) == (["admin@example.com"], None)


@pytest.mark.parametrize("limit", [0, 101, -1, "x", ""])
async def test_limit_is_between_1_and_100(admin: httpx.AsyncClient, limit: int | str) -> None:
    assert (await admin.get(USERS, params={"limit": limit})).status_code == 422


async def test_cursor_that_the_server_did_not_issue_for_the_list_is_rejected(
    app: FastAPI, admin: httpx.AsyncClient
) -> None:
    url = "postgresql://localhost/none"
    stranger = Cursors(ExplicitSettings(database_url=url, jwt_secret=OTHER_SECRET))
    await add_user(app, "ada@example.com")
    _, genuine = await emails(admin, limit=1)
    assert genuine is not None
    for cursor in (
        "x",
        "",
        "\0",
        genuine[:-2],
        stranger.issue("User.created_at User.id descending", ["2026-01-01", str(UUID(int=0))]),
        app.state.cursors.issue("AuditEvent.id descending", [1]),
        admin.cookies["__Host-access"],
    ):
        response = await admin.get(USERS, params={"cursor": cursor})
        assert response.status_code == 422
        assert response.json()["type"] == "/problems/invalid-cursor", cursor


def test_cursor_is_valid_during_a_rotation_of_the_secret() -> None:
    url = "postgresql://localhost/none"
    old = Cursors(ExplicitSettings(database_url=url, jwt_secret=OTHER_SECRET))
    new = Cursors(
        ExplicitSettings(database_url=url, jwt_secret=SECRET, jwt_previous_secrets=OTHER_SECRET)
    )

    assert new.verify("list", old.issue("list", ["a"])) == ["a"]
    with pytest.raises(InvalidCursor):
        old.verify("list", new.issue("list", ["a"]))


@pytest.mark.parametrize(
    ("params", "index"),
    [
        ({}, "ix_users_created_at_id"),
        ({"role": "admin"}, "ix_users_role_created_at_id"),
        ({"is_active": "false"}, "ix_users_inactive"),
        ({"email": "ada"}, "ix_users_email_prefix"),
    ],
)
async def test_each_list_follows_an_index(
    app: FastAPI,
    admin: httpx.AsyncClient,
    db: asyncpg.Connection,
    params: dict[str, str],
    index: str,
) -> None:
    await db.execute(
        "INSERT INTO users (email, password_hash, is_active, role, created_at) SELECT "
        "CASE WHEN n % 100 = 0 THEN 'ada' ELSE 'u' END || n, '', n % 50 <> 0, "
        "CASE WHEN n % 100 = 0 THEN 'admin' ELSE 'user' END, "
        "clock_timestamp() - make_interval(secs => n) FROM generate_series(1, 5000) n; "
        "ANALYZE users"
    )
    statements: list[tuple[str, tuple[object, ...]]] = []

    def remember(*values: Any) -> None:
        statements.append((values[2], values[3]))

    engine = app.state.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", remember)
    _, cursor = await emails(admin, **params, limit=1)
    await emails(admin, **params, limit=1, cursor=cursor)
    event.remove(engine, "before_cursor_execute", remember)
    lists = [it for it in statements if "ORDER BY users.created_at" in it[0]]

    assert len(lists) == 2
    for statement, values in lists:
        plan = await db.fetch(f"EXPLAIN {statement}", *values)
        assert any(index in row["QUERY PLAN"] for row in plan), plan


class _Base(DeclarativeBase):
    pass


class _Task(_Base):
    __tablename__ = "tasks_of_test"

    id: Mapped[int] = mapped_column(primary_key=True)
    done: Mapped[bool]
    due: Mapped[date]
    name: Mapped[str]


@pytest.mark.parametrize("column", ["done", "due", "name"])
async def test_lists_can_be_sorted_by_columns_of_any_type(
    app: FastAPI, db: asyncpg.Connection, column: str
) -> None:
    await db.execute(
        "CREATE TABLE tasks_of_test (id int, done bool, due date, name text);"
        "INSERT INTO tasks_of_test SELECT n, n > 2, date '2026-01-01' + n / 2, "
        "repeat('é', 200) || n / 3 FROM generate_series(1, 4) n"
    )
    found, cursor = [], None
    try:
        async with app.state.database.sessions() as session:
            for _ in range(4):
                request = PageRequest(app.state.cursors, 1, cursor)
                key = (getattr(_Task, column), _Task.id)
                page = await fetch_page(session, select(_Task), request, *key)
                found.append(page.items[0].id)
                cursor = page.next_cursor
    finally:
        await db.execute("DROP TABLE tasks_of_test")

    assert (found, cursor) == ([1, 2, 3, 4], None)
