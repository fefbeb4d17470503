"""Administrators manage users, and each change is an audit event."""

import asyncio
import uuid

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.exc import IntegrityError

from app.core.roles import Role
from app.services import administration, user_management
from app.services.audit import Actor
from app.services.errors import PermissionDenied
from app.services.users import PublicUser
from tests.conftest import PASSWORD, ClientFactory, add_user, log_in, run_jobs, until
from tests.mailbox import Mailbox

USERS = "/api/v1/admin/users"
EVENTS = "/api/v1/admin/audit-events"
ME = "/api/v1/users/me"
UNKNOWN = uuid.UUID(int=1)
ENDPOINTS = [
    ("GET", USERS),
    ("GET", f"{USERS}/{UNKNOWN}"),
    ("PATCH", f"{USERS}/{UNKNOWN}"),
    ("DELETE", f"{USERS}/{UNKNOWN}/sessions"),
    ("POST", f"{USERS}/{UNKNOWN}/email-link"),
    ("GET", EVENTS),
]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_only_an_administrator_may_use_an_endpoint(
    app: FastAPI, signed_in: httpx.AsyncClient, make_client: ClientFactory, method: str, path: str
) -> None:
    body: dict[str, bool] | None = {} if method == "PATCH" else None
    assert (await make_client(app).request(method, path, json=body)).status_code == 401
    response = await signed_in.request(method, path, json=body)

    assert response.status_code == 403
    assert response.json()["type"] == "/problems/permission-denied"


@pytest.mark.parametrize(("method", "path"), ENDPOINTS[1:5])
async def test_unknown_user_is_not_found(admin: httpx.AsyncClient, method: str, path: str) -> None:
    body = {"is_active": False} if method == "PATCH" else None
    response = await admin.request(method, path, json=body)

    # The tests' application sends no mail.
    assert response.status_code == (503 if method == "POST" else 404)


async def test_users_are_found_by_prefix_role_and_activity(
    app: FastAPI, admin: httpx.AsyncClient, ada: PublicUser
) -> None:
    await add_user(app, "m\u00e9@example.com")
    await add_user(app, "a_b@example.com")
    await admin.patch(f"{USERS}/{ada.id}", json={"is_active": False})

    async def found(**params: str | bool) -> list[str]:
        items = (await admin.get(USERS, params=params)).json()["items"]
        return [user["email"] for user in items]

    assert len(await found()) == 4
    assert await found(email="ME\u0301") == ["m\u00e9@example.com"]
    assert await found(email=" AD") == ["ada@example.com", "admin@example.com"]
    assert await found(email="a_") == ["a_b@example.com"]
    assert await found(email="%") == []
    assert await found(role="admin") == ["admin@example.com"]
    assert await found(is_active=False) == ["ada@example.com"]
    assert await found(is_active=True, email="ad", role="user") == []
    assert (await admin.get(f"{USERS}/{ada.id}")).json()["email"] == "ada@example.com"
    for params in ({"role": "king"}, {"email": "\0"}, {"is_active": "maybe"}):
        assert (await admin.get(USERS, params=params)).status_code == 422


async def test_new_role_applies_to_the_next_request(
    admin: httpx.AsyncClient, signed_in: httpx.AsyncClient, ada: PublicUser
) -> None:
    response = await admin.patch(f"{USERS}/{ada.id}", json={"role": "admin"})
    assert (response.status_code, response.json()["role"]) == (200, "admin")
    assert (await signed_in.get(USERS)).status_code == 200

    await admin.patch(f"{USERS}/{ada.id}", json={"role": "user"})
    assert (await signed_in.get(USERS)).status_code == 403
    assert (await signed_in.get(ME)).json()["role"] == "user"


async def test_deactivation_revokes_access_and_activation_allows_signing_in(
    admin: httpx.AsyncClient, signed_in: httpx.AsyncClient, ada: PublicUser
) -> None:
    await admin.patch(f"{USERS}/{ada.id}", json={"is_active": False})
    assert (await signed_in.get(ME)).status_code == 401
    assert (await log_in(signed_in, ada.email)).status_code == 401

    await admin.patch(f"{USERS}/{ada.id}", json={"is_active": True})
    assert (await signed_in.get(ME)).status_code == 401
    assert (await log_in(signed_in, ada.email)).status_code == 200


async def test_administrator_ends_the_sessions_of_a_user(
    admin: httpx.AsyncClient, signed_in: httpx.AsyncClient, ada: PublicUser
) -> None:
    assert (await admin.delete(f"{USERS}/{ada.id}/sessions")).status_code == 204
    assert (await signed_in.get(ME)).status_code == 401
    assert (await signed_in.post("/api/v1/auth/refresh")).status_code == 401


@pytest.mark.parametrize("change", [{"role": "user"}, {"is_active": False}, {}])
async def test_administrators_cannot_change_themselves(
    admin: httpx.AsyncClient, change: dict[str, object]
) -> None:
    own_id = (await admin.get(ME)).json()["id"]
    response = await admin.patch(f"{USERS}/{own_id}", json=change)

    assert response.status_code == 403
    assert response.json()["type"] == "/problems/own-account"


async def test_administrator_cannot_delete_the_own_account(
    admin: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    response = await admin.request("DELETE", ME, json={"current_password": PASSWORD})

    assert response.status_code == 403
    assert response.json()["type"] == "/problems/own-account"
    assert await db.fetchval("SELECT count(*) FROM users") == 1


@pytest.mark.parametrize("change", [{"role": "king"}, {"email": "x@example.com"}, {"is_active": 7}])
async def test_invalid_change_is_rejected(
    admin: httpx.AsyncClient, ada: PublicUser, change: dict[str, object]
) -> None:
    assert (await admin.patch(f"{USERS}/{ada.id}", json=change)).status_code == 422


async def test_one_of_two_administrators_who_remove_each_other_remains(
    app: FastAPI, admin: httpx.AsyncClient, make_client: ClientFactory
) -> None:
    first_id = (await admin.get(ME)).json()["id"]
    other = make_client(app)
    second = await add_user(app, "second@example.com", role=Role.ADMIN)
    await log_in(other, second.email)
    responses = await asyncio.gather(
        admin.patch(f"{USERS}/{second.id}", json={"role": "user"}),
        other.patch(f"{USERS}/{first_id}", json={"role": "user"}),
    )

    assert sorted(response.status_code for response in responses) == [200, 403]


async def test_revoked_session_changes_nothing_after_waiting(
    app: FastAPI, admin: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection
) -> None:
    async with db.transaction():
        await db.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", ada.id)
        promotion = asyncio.create_task(
            admin.patch(f"{USERS}/{ada.id}", json={"role": "admin"}),
        )
        await until(lambda: waits_for_a_lock(db))
        await db.execute("UPDATE sessions SET revoked_at = clock_timestamp()")

    assert (await promotion).status_code == 401
    assert await db.fetchval("SELECT role FROM users WHERE id = $1", ada.id) == "user"


async def waits_for_a_lock(db: asyncpg.Connection) -> bool:
    """Return whether a statement in this database waits for a lock."""
    return bool(
        await db.fetchval(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )


async def test_only_a_role_that_grants_roles_changes_roles_and_administrators(
    app: FastAPI,
    signed_in: httpx.AsyncClient,
    ada: PublicUser,
    monkeypatch: pytest.MonkeyPatch,
    db: asyncpg.Connection,
) -> None:
    # As if Ada's role were one for support, which may manage users.
    monkeypatch.setattr(user_management, "MANAGE_USERS", {Role.USER, Role.ADMIN})
    admin = await add_user(app, "admin@example.com", role=Role.ADMIN)
    grace = await add_user(app, "grace@example.com")
    session_id = await db.fetchval("SELECT id FROM sessions")
    actor = Actor(ada.id, session_id)
    database = app.state.database

    changed = await user_management.update_user(database, actor, grace.id, is_active=False)
    assert not changed.is_active
    with pytest.raises(PermissionDenied):
        await user_management.update_user(database, actor, grace.id, role=Role.ADMIN)
    with pytest.raises(PermissionDenied):
        await user_management.update_user(database, actor, admin.id, is_active=False)
    with pytest.raises(PermissionDenied):
        await user_management.revoke_sessions(database, actor, admin.id)


async def test_deactivation_also_revokes_the_access_of_an_inactive_user(
    app: FastAPI,
    admin: httpx.AsyncClient,
    signed_in: httpx.AsyncClient,
    ada: PublicUser,
    db: asyncpg.Connection,
) -> None:
    await db.execute("UPDATE users SET is_active = false WHERE id = $1", ada.id)
    for is_active in (False, True):
        await admin.patch(f"{USERS}/{ada.id}", json={"is_active": is_active})

    assert (await signed_in.get(ME)).status_code == 401


async def test_administrator_sends_a_link(
    mailing_app: FastAPI, make_client: ClientFactory, mailbox: Mailbox
) -> None:
    client = make_client(mailing_app)
    await add_user(mailing_app, "admin@example.com", role=Role.ADMIN)
    ada = await add_user(mailing_app, "ada@example.com")
    await log_in(client, "admin@example.com")
    url = f"{USERS}/{ada.id}/email-link"

    assert (await client.post(url)).status_code == 202
    await run_jobs(mailing_app)
    assert [str(message["to"]) for message in mailbox.messages] == ["ada@example.com"]
    assert [(await client.post(url)).status_code for _ in range(5)] == [202] * 4 + [429]
    assert (await client.post(f"{USERS}/{UNKNOWN}/email-link")).status_code == 404
    await client.patch(f"{USERS}/{ada.id}", json={"is_active": False})
    assert (await client.post(url)).json()["type"] == "/problems/user-not-active"


async def test_each_change_is_an_audit_event(
    admin: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection
) -> None:
    await db.execute("DELETE FROM audit_events")
    admin_id = (await admin.get(ME)).json()["id"]
    url = f"{USERS}/{ada.id}"
    await admin.patch(url, json={"role": "admin"}, headers={"X-Request-ID": "trace-1"})
    await admin.patch(url, json={"role": "admin"})  # no change, no event
    await admin.patch(url, json={"is_active": False})
    await admin.patch(url, json={"is_active": True})
    await admin.delete(f"{url}/sessions")
    events = (await admin.get(EVENTS)).json()["items"]

    assert [event["action"] for event in events] == [
        "sessions_revoked",
        "user_activated",
        "user_deactivated",
        "role_changed",
    ]
    assert {event["actor_id"] for event in events} == {admin_id}
    assert {event["subject_id"] for event in events} == {str(ada.id)}
    assert events[-1]["details"] == {"old": "user", "new": "admin"}
    assert (events[-1]["request_id"], events[-1]["address"]) == ("trace-1", "192.0.2.1")


async def test_audit_events_are_found_by_actor_and_subject_in_pages(
    app: FastAPI, admin: httpx.AsyncClient, ada: PublicUser
) -> None:
    admin_id = (await admin.get(ME)).json()["id"]
    other = await add_user(app, "other@example.com")
    for user in (ada, other, ada):
        await admin.delete(f"{USERS}/{user.id}/sessions")

    first = (await admin.get(EVENTS, params={"actor_id": admin_id, "limit": 2})).json()
    params = {"actor_id": admin_id, "cursor": first["next_cursor"]}
    second = (await admin.get(EVENTS, params=params)).json()
    found = (await admin.get(EVENTS, params={"subject_id": str(other.id)})).json()

    assert [len(first["items"]), len(second["items"])] == [2, 1]
    assert second["next_cursor"] is None
    assert [event["subject_id"] for event in found["items"]] == [str(other.id)]
    assert (await admin.get(EVENTS, params={"actor_id": "x"})).status_code == 422


async def test_event_is_saved_only_if_its_change_is(
    app: FastAPI,
    admin: httpx.AsyncClient,
    signed_in: httpx.AsyncClient,
    ada: PublicUser,
    db: asyncpg.Connection,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await db.execute(
        "ALTER TABLE audit_events ADD CONSTRAINT ck_audit_events_full CHECK (false) NOT VALID"
    )
    try:
        response = await admin.patch(f"{USERS}/{ada.id}", json={"role": "admin"})
        async with app.state.database.sessions() as session:
            with pytest.raises(IntegrityError):
                await administration.revoke_all_sessions(session)
    finally:
        await db.execute("ALTER TABLE audit_events DROP CONSTRAINT ck_audit_events_full")

    assert response.status_code == 500
    assert await db.fetchval("SELECT role FROM users WHERE id = $1", ada.id) == "user"
    assert (await signed_in.get(ME)).status_code == 200
    assert "role_changed" not in capsys.readouterr().err


async def test_role_that_the_code_does_not_know_has_no_permission(
    signed_in: httpx.AsyncClient, ada: PublicUser, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE users SET role = 'future' WHERE id = $1", ada.id)

    assert (await signed_in.get(ME)).json()["role"] == "future"
    assert (await signed_in.get(USERS)).status_code == 403
