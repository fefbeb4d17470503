"""The application's statements in the same order, written by hand for asyncpg."""

import os
import secrets
import uuid
from datetime import timedelta
from typing import NamedTuple

import asyncpg
from tokens import Refused, derive_successor, refresh_hash

AUTHENTICATED_USER = """
SELECT users.id, users.email, users.is_active, users.created_at
FROM users JOIN sessions ON sessions.user_id = users.id
WHERE users.id = $1 AND users.is_active AND sessions.id = $2
AND sessions.revoked_at IS NULL AND sessions.expires_at > clock_timestamp()
"""
LOCK_USER = """
SELECT id FROM users WHERE id = (SELECT user_id FROM refresh_tokens WHERE token_hash = $1)
FOR NO KEY UPDATE
"""
FAMILY = """
SELECT token.id, sessions.id AS session_id, sessions.expires_at AS session_expires_at,
    sessions.user_id, current.id AS current_id, clock_timestamp() AS now
FROM refresh_tokens AS token
JOIN sessions ON sessions.id = token.session_id
JOIN users ON users.id = sessions.user_id
JOIN refresh_tokens AS current
    ON current.session_id = sessions.id AND current.revoked_at IS NULL
LEFT JOIN refresh_tokens AS rotated
    ON rotated.session_id = sessions.id AND rotated.child_nonce IS NOT NULL
WHERE token.token_hash = $1 AND sessions.revoked_at IS NULL
AND sessions.expires_at > clock_timestamp() AND current.expires_at > clock_timestamp()
AND users.is_active
"""
ROTATE = """
WITH used_session AS (UPDATE sessions SET last_used_at = $2 WHERE id = $1),
rotated AS (
    UPDATE refresh_tokens
    SET revoked_at = coalesce(revoked_at, $2), child_nonce = CASE WHEN id = $3 THEN $4::bytea END
    WHERE session_id = $1 AND (revoked_at IS NULL OR child_nonce IS NOT NULL)
    RETURNING id
)
INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, created_at)
SELECT $5::uuid, $6::uuid, $1, $7::bytea, $8::timestamptz, $2
FROM (SELECT count(*) FROM rotated) AS when_rotated
"""
REFRESH_LIFETIME = timedelta(days=14)


class Rotated(NamedTuple):
    """A rotated session: its user, its new refresh token, and the seconds until it expires."""

    user_id: uuid.UUID
    session_id: uuid.UUID
    token: str
    seconds: int


async def open_pool() -> asyncpg.Pool:
    """Open a connection pool with the defaults of asyncpg.

    By default, the pool resets each returned connection, which takes a round trip. The application
    does not do this. With REFERENCE_RESET=off, this pool does not do it either.
    """
    reset = {"reset": _leave_as_it_is} if os.environ.get("REFERENCE_RESET") == "off" else {}
    return await asyncpg.create_pool(os.environ["DATABASE_URL"], **reset)


async def find_user(
    pool: asyncpg.Pool, user_id: uuid.UUID, session_id: uuid.UUID
) -> asyncpg.Record:
    """Return the user of an active session. Raise `Refused` if there is none."""
    row = await pool.fetchrow(AUTHENTICATED_USER, user_id, session_id)
    if row is None:
        raise Refused
    return row


async def rotate(pool: asyncpg.Pool, token: str | None) -> Rotated:
    """Rotate the current refresh token of a session. Raise `Refused` if it is not current."""
    token_hash = refresh_hash(token)
    async with pool.acquire() as connection, connection.transaction():
        user_id = await connection.fetchval(LOCK_USER, token_hash)
        family = await connection.fetchrow(FAMILY, token_hash)
        if family is None or family["id"] != family["current_id"]:
            raise Refused
        now, session_id = family["now"], family["session_id"]
        nonce = secrets.token_bytes(32)
        successor = derive_successor(token, nonce)
        expires_at = min(now + REFRESH_LIFETIME, family["session_expires_at"])
        await connection.execute(
            ROTATE,
            session_id,
            now,
            family["id"],
            nonce,
            uuid.uuid4(),
            user_id,
            refresh_hash(successor),
            expires_at,
        )
    return Rotated(user_id, session_id, successor, int((expires_at - now).total_seconds()))


async def _leave_as_it_is(_connection: asyncpg.Connection) -> None:
    pass
