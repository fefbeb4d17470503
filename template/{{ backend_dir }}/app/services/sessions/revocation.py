"""Revocation: sign-out, reuse detection, and everything else that revokes a session."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

import structlog
from sqlalchemy import ColumnElement, Row, Update, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.core.tokens import RawToken, hash_token
from app.db.session import Database
from app.models import EmailToken, PersonalAccessToken, RefreshToken, UserSession
from app.services.email_tokens import invalidate_email_tokens
from app.services.errors import SessionNotFound
from app.services.personal_tokens import delete_tokens
from app.services.sessions.authentication import AuthContext
from app.services.sessions.lock import lock_users

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class PresentedTokens:
    """The tokens of a request: the session of its access token, and its refresh token."""

    session_id: uuid.UUID | None = None
    refresh_token: RawToken | None = field(default=None, repr=False)


async def revoke_sessions(db: AsyncSession, which: ColumnElement[bool]) -> None:
    """Revoke the active sessions that match, and their current refresh tokens.

    Call it with their users' rows locked.
    """
    await db.execute(revocation(which))


async def revoke_all_access(db: AsyncSession, user_ids: Collection[uuid.UUID]) -> None:
    """Revoke all sessions and personal access tokens of some users, and the links about them.

    A link to a new address would otherwise outlive a password reset: someone who knew the old
    password could request it before, and use it after. Call this with the users' rows locked.
    """
    await revoke_sessions(db, UserSession.user_id.in_(user_ids))
    await delete_tokens(db, PersonalAccessToken.user_id.in_(user_ids))
    await invalidate_email_tokens(db, EmailToken.user_id.in_(user_ids))


def revocation(which: ColumnElement[bool]) -> Update:
    """Return the statement of `revoke_sessions`."""
    now = func.clock_timestamp()
    revoked = (
        update(UserSession)
        .where(which, UserSession.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(UserSession.id)
        .cte("revoked")
    )
    return (
        update(RefreshToken)
        .where(
            RefreshToken.session_id.in_(select(revoked.c.id)),
            or_(RefreshToken.revoked_at.is_(None), RefreshToken.child_nonce.is_not(None)),
        )
        .values(revoked_at=func.coalesce(RefreshToken.revoked_at, now), child_nonce=None)
        .execution_options(synchronize_session=False)
    )


async def find_sessions(
    db: AsyncConnection | AsyncSession, presented: PresentedTokens
) -> list[Row[uuid.UUID, uuid.UUID]]:
    """Return the `id` and the `user_id` of the sessions that the tokens of a request belong to.

    A rotated token belongs to its session too. The statement needs no lock, because neither value
    of a session ever changes; its result says whose rows to lock.
    """
    conditions = []
    if presented.session_id is not None:
        conditions.append(UserSession.id == presented.session_id)
    if presented.refresh_token is not None:
        # Use `=`: for an OR that contains an `IN`, Postgres would read the whole table.
        by_token = select(RefreshToken.session_id).where(
            RefreshToken.token_hash == hash_token(presented.refresh_token)
        )
        conditions.append(UserSession.id == by_token.scalar_subquery())
    if not conditions:
        return []
    rows = await db.execute(
        select(UserSession.id, UserSession.user_id).where(
            or_(*conditions), UserSession.revoked_at.is_(None)
        )
    )
    return list(rows)


async def sign_out(database: Database, presented: PresentedTokens) -> None:
    """Revoke the sessions that the tokens of a request belong to, if there are any."""
    async with database.transaction() as db:
        found = await find_sessions(db, presented)
        if not found:
            return
        await lock_users(db, [row.user_id for row in found])
        await revoke_sessions(db, UserSession.id.in_([row.id for row in found]))
    for row in found:
        log.info("logged_out", user_id=str(row.user_id), session_id=str(row.id))


async def revoke_session(database: Database, auth: AuthContext, session_id: uuid.UUID) -> None:
    """Revoke one session of a user. Raise `SessionNotFound`, also for another user's session."""
    async with database.transaction() as db:
        await lock_users(db, [auth.user.id])
        found = await db.scalar(
            select(UserSession.id).where(
                UserSession.id == session_id,
                UserSession.user_id == auth.user.id,
                UserSession.revoked_at.is_(None),
            )
        )
        if found is None:
            raise SessionNotFound
        await revoke_sessions(db, UserSession.id == session_id)
    log.info("logged_out", user_id=str(auth.user.id), session_id=str(session_id))


async def revoke_other_sessions(database: Database, auth: AuthContext) -> None:
    """Revoke every session of a user except the current one."""
    async with database.transaction() as db:
        await lock_users(db, [auth.user.id])
        await revoke_sessions(
            db, (UserSession.user_id == auth.user.id) & (UserSession.id != auth.session_id)
        )
    log.info("other_sessions_ended", user_id=str(auth.user.id))
