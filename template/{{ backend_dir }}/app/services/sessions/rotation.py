"""Rotation: each refresh kills the live token and makes its child.

Within a window after a rotation the same answer can be had again: by a second tab, or by a client
that lost the first answer. After it, a dead token that comes back was stolen (RFC 9700 4.14.2).
"""

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import (
    DateTime,
    LargeBinary,
    and_,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.core.settings import Settings
from app.core.tokens import NONCE_BYTES, RawToken, child_refresh_token, hash_refresh_token
from app.db.session import Database
from app.models import RefreshToken, Session, User
from app.services.errors import ReusedRefreshToken, SessionOver, UnknownRefreshToken
from app.services.sessions.ending import end_sessions
from app.services.sessions.grant import Grant, make_link

log = structlog.stdlib.get_logger(__name__)

LiveToken = aliased(RefreshToken, name="live_token")
RotatedToken = aliased(RefreshToken, name="rotated_token")

# A statement of its own, before any other: see `lock_users`. A token's user never changes.
LOCK_OWNER = (
    select(User.id)
    .where(
        User.id
        == select(RefreshToken.user_id)
        .where(RefreshToken.token_hash == bindparam("token_hash"))
        .scalar_subquery()
    )
    .with_for_update(key_share=True)
)

CHAIN = (
    select(
        RefreshToken.id.label("token_id"),
        RefreshToken.child_nonce,
        Session.id.label("session_id"),
        Session.expires_at.label("session_expires_at"),
        Session.user_id,
        LiveToken.id.label("live_id"),
        LiveToken.expires_at.label("live_expires_at"),
        RotatedToken.revoked_at.label("rotated_at"),
        func.clock_timestamp().label("now"),
    )
    .join(Session, Session.id == RefreshToken.session_id)
    .join(User, User.id == Session.user_id)
    .join(LiveToken, and_(LiveToken.session_id == Session.id, LiveToken.revoked_at.is_(None)))
    .outerjoin(
        RotatedToken,
        and_(RotatedToken.session_id == Session.id, RotatedToken.child_nonce.is_not(None)),
    )
    .where(
        RefreshToken.token_hash == bindparam("token_hash"),
        Session.revoked_at.is_(None),
        Session.expires_at > func.clock_timestamp(),
        LiveToken.expires_at > func.clock_timestamp(),
        User.is_active,
    )
)

NOW = bindparam("now", type_=DateTime(timezone=True))

# The grandparent's nonce goes as the parent gets one: only the last rotation can be repeated. That
# the session was used is written in the same round trip.
REVOKE = (
    update(RefreshToken)
    .where(
        RefreshToken.session_id == bindparam("this_session"),
        or_(RefreshToken.revoked_at.is_(None), RefreshToken.child_nonce.is_not(None)),
    )
    .values(
        revoked_at=func.coalesce(RefreshToken.revoked_at, NOW),
        child_nonce=case(
            (RefreshToken.id == bindparam("parent"), bindparam("nonce", type_=LargeBinary)),
            else_=None,
        ),
    )
    .add_cte(
        update(Session)
        .where(Session.id == bindparam("this_session"))
        .values(last_used_at=NOW)
        .cte("touched")
    )
)


@dataclass(frozen=True)
class Chain:
    """The presented token, and the two ends that matter of the chain it belongs to.

    child_nonce: of the presented token; set if its child is the live token.
    rotated_at: when the live token was made by a rotation; None if by a login.
    """

    token_id: uuid.UUID
    child_nonce: bytes | None
    session_id: uuid.UUID
    session_expires_at: datetime
    user_id: uuid.UUID
    live_id: uuid.UUID
    live_expires_at: datetime
    rotated_at: datetime | None
    now: datetime

    def in_window(self, grace: timedelta) -> bool:
        """Whether the last rotation is so recent that its answer may be repeated.

        By a clock that has been put back far, the rotation is in the future: that is not recent.
        """
        return self.rotated_at is not None and abs(self.now - self.rotated_at) < grace

    def repeat(self, token: RawToken) -> Grant:
        """Grant the live token once more."""
        return Grant(
            user_id=self.user_id,
            session_id=self.session_id,
            refresh_token=token,
            refresh_seconds_left=(self.live_expires_at - self.now).total_seconds(),
            session_seconds_left=(self.session_expires_at - self.now).total_seconds(),
        )


async def refresh(
    database: Database, settings: Settings, token: RawToken | None, address: str | None = None
) -> Grant:
    """Exchange a refresh token, in six round trips.

    address: the client's, for the log.

    Raises `UnknownRefreshToken`, `SessionOver`, or `ReusedRefreshToken`: then the token was stolen
    and its session has been ended, which stays so although the call fails.
    """
    if token is None:
        raise UnknownRefreshToken
    async with database.transaction() as db:
        chain = await _lock_chain(db, token)
        grant = await _answer(db, settings, token, chain)
    # Only now: an exception inside the transaction would undo the end of the session.
    names = {"user_id": str(chain.user_id), "session_id": str(chain.session_id)}
    if grant is None:
        log.warning("refresh_token_reuse", **names, client_address=address)
        raise ReusedRefreshToken
    log.debug("session_refreshed", **names)
    return grant


async def _lock_chain(db: AsyncSession, token: RawToken) -> Chain:
    values = {"token_hash": hash_refresh_token(token)}
    if await db.scalar(LOCK_OWNER, values) is None:
        raise UnknownRefreshToken
    row = (await db.execute(CHAIN, values)).mappings().one_or_none()
    if row is None:
        raise SessionOver
    return Chain(**row)


async def _answer(
    db: AsyncSession, settings: Settings, token: RawToken, chain: Chain
) -> Grant | None:
    """Decide; None is theft. The five cases are the rows of the table in `docs/security.md`."""
    in_window = chain.in_window(timedelta(seconds=settings.refresh_grace_seconds))
    if chain.token_id == chain.live_id:
        return chain.repeat(token) if in_window else await _rotate(db, settings, token, chain)
    if in_window and chain.child_nonce is not None:
        return chain.repeat(child_refresh_token(token, chain.child_nonce))
    await end_sessions(db, Session.id == chain.session_id)
    return None


async def _rotate(db: AsyncSession, settings: Settings, parent: RawToken, chain: Chain) -> Grant:
    nonce = secrets.token_bytes(NONCE_BYTES)
    await db.execute(
        REVOKE,
        {
            "this_session": chain.session_id,
            "now": chain.now,
            "parent": chain.token_id,
            "nonce": nonce,
        },
        execution_options={"synchronize_session": False},
    )
    row, grant = make_link(
        settings,
        chain.user_id,
        chain.session_id,
        child_refresh_token(parent, nonce),
        chain.now,
        chain.session_expires_at,
    )
    await db.execute(insert(RefreshToken), row)
    return grant
