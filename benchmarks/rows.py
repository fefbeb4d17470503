"""The rows for a database: users, their sessions, and the tokens of each session."""

from typing import Final

SESSIONS: Final = 3
"""Sessions of each user."""
TOKENS: Final = 10
"""Refresh tokens of each session; the last one is the current token."""
PASSWORD: Final = "a passphrase for tests"  # noqa: S105 - of temporary users


def live_token(session: int) -> str:
    """Return the current refresh token of a session. session: its number, from 1."""
    return f"live-{session}-".ljust(43, "x")


def first_session(user: int) -> int:
    """Return the number of a user's first session."""
    return (user - 1) * SESSIONS + 1


def email(user: int) -> str:
    """Return the email of a user. user: their number, from 1."""
    return f"user-{user}@example.com"


def fill(first: int, last: int, password_hash: str) -> str:
    """Return the SQL that adds users with their sessions, tokens and counted attempts.

    first, last: the numbers of the users. The IDs are hashes of the numbers, so they are spread
    like random IDs.
    """
    sessions = f"generate_series({first_session(first)}, {last * SESSIONS}) s"
    user_id = f"md5('user' || (s + {SESSIONS - 1}) / {SESSIONS})::uuid"
    return f"""
    INSERT INTO users (id, email, password_hash)
    SELECT md5('user' || u)::uuid, 'user-' || u || '@example.com', '{password_hash}'
    FROM generate_series({first}, {last}) u;

    INSERT INTO sessions (id, user_id, expires_at, user_agent)
    SELECT md5('session' || s)::uuid, {user_id},
        clock_timestamp() + interval '30 days', 'Mozilla/5.0 (X11; Linux x86_64)'
    FROM {sessions};

    INSERT INTO refresh_tokens
        (id, user_id, session_id, token_hash, child_nonce, expires_at, revoked_at)
    SELECT md5('token' || s || '-' || t)::uuid, {user_id}, md5('session' || s)::uuid,
        sha256((CASE t WHEN {TOKENS} THEN rpad('live-' || s || '-', 43, 'x')
            ELSE 'dead-' || s || '-' || t END)::bytea),
        CASE t WHEN {TOKENS - 1} THEN sha256((s || '')::bytea) END,
        clock_timestamp() + interval '14 days',
        CASE WHEN t < {TOKENS} THEN clock_timestamp() - interval '1 hour' END
    FROM {sessions}, generate_series(1, {TOKENS}) t;

    -- An empty table would be read without an index.
    INSERT INTO personal_access_tokens (user_id, name, scopes, token_hash, expires_at)
    SELECT md5('user' || u)::uuid, 'CI', '{{read}}', sha256(('token' || u)::bytea),
        clock_timestamp() + interval '30 days'
    FROM generate_series({first}, {last}, 10) u;

    INSERT INTO email_tokens (purpose, email, user_id, token_hash, expires_at)
    SELECT 'reset', 'user-' || u || '@example.com', md5('user' || u)::uuid,
        sha256(('link' || u)::bytea), clock_timestamp() + interval '30 minutes'
    FROM generate_series({first}, {last}, 10) u;

    INSERT INTO attempt_counts (key, attempts, window_ends_at)
    SELECT sha256(('key' || u)::bytea), 1, clock_timestamp() + interval '15 minutes'
    FROM generate_series({first}, {last}, 10) u;
    """  # noqa: S608 - only from our own numbers
