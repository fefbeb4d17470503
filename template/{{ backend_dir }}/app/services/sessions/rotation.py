"""Rotation: a refresh replaces the current refresh token of a session with its successor.

Within a grace period after a rotation, a client that repeats the refresh receives the same
successor. It may be a second tab, or a client that lost the first response. After the grace period,
the presentation of a rotated token is reuse, and the server revokes the session (RFC 9700 4.14.2).
"""

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import (
    Connection,
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
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import aliased

from app.core.settings import Settings
from app.core.tokens import NONCE_BYTES, RawToken, derive_successor, hash_token
from app.db.session import Database, DatabaseUnavailable
from app.models import RefreshToken, User, UserSession
from app.services.errors import ReusedRefreshToken, SessionNotActive, UnknownRefreshToken
from app.services.notices import notify
from app.services.sessions.creation import IssuedTokens, issue_refresh_token
from app.services.sessions.revocation import revocation

log = structlog.stdlib.get_logger(__name__)

CurrentToken = aliased(RefreshToken, name="current_token")
RotatedToken = aliased(RefreshToken, name="rotated_token")

# A separate statement, before all others: see `lock_users`. A token's user never changes.
LOCK_USER = (
    select(User.id)
    .where(
        User.id
        == select(RefreshToken.user_id)
        .where(RefreshToken.token_hash == bindparam("token_hash"))
        .scalar_subquery()
    )
    .with_for_update(key_share=True)
)

TOKEN_FAMILY = (
    select(
        RefreshToken.id.label("token_id"),
        RefreshToken.child_nonce,
        UserSession.id.label("session_id"),
        UserSession.expires_at.label("session_expires_at"),
        UserSession.user_id,
        User.email,
        CurrentToken.id.label("current_id"),
        CurrentToken.expires_at.label("current_expires_at"),
        RotatedToken.revoked_at.label("rotated_at"),
        func.clock_timestamp().label("now"),
    )
    .join(UserSession, UserSession.id == RefreshToken.session_id)
    .join(User, User.id == UserSession.user_id)
    .join(
        CurrentToken,
        and_(CurrentToken.session_id == UserSession.id, CurrentToken.revoked_at.is_(None)),
    )
    .outerjoin(
        RotatedToken,
        and_(RotatedToken.session_id == UserSession.id, RotatedToken.child_nonce.is_not(None)),
    )
    .where(
        RefreshToken.token_hash == bindparam("token_hash"),
        UserSession.active(),
        CurrentToken.expires_at > func.clock_timestamp(),
        User.is_active,
    )
)

NOW = bindparam("now", type_=DateTime(timezone=True))

# One round trip: mark the current token as rotated, add its successor, and update the session's
# last use. The predecessor of the rotated token loses its nonce, because only the last rotation can
# be repeated.
ROTATED = (
    update(RefreshToken)
    .where(
        RefreshToken.session_id == bindparam("this_session"),
        or_(RefreshToken.revoked_at.is_(None), RefreshToken.child_nonce.is_not(None)),
    )
    .values(
        revoked_at=func.coalesce(RefreshToken.revoked_at, NOW),
        child_nonce=case(
            (RefreshToken.id == bindparam("rotated"), bindparam("nonce", type_=LargeBinary)),
            else_=None,
        ),
    )
    .returning(RefreshToken.id)
    .cte("rotated")
)
USED_SESSION = (
    update(UserSession)
    .where(UserSession.id == bindparam("this_session"))
    .values(last_used_at=NOW)
    .cte("used_session")
)
# The count makes the insert wait until all rows are updated. The unique index allows one current
# token only.
WHEN_ROTATED = select(func.count()).select_from(ROTATED).subquery()
SUCCESSOR = {
    name: bindparam(f"new_{name}", type_=RefreshToken.__table__.c[name].type)
    for name in ("id", "user_id", "session_id", "token_hash", "expires_at", "created_at")
}
ROTATE = (
    insert(RefreshToken)
    .from_select(list(SUCCESSOR), select(*SUCCESSOR.values()).select_from(WHEN_ROTATED))
    .add_cte(USED_SESSION)
)


@dataclass(frozen=True)
class TokenFamily:
    """The presented token, and the current token of the family that it belongs to.

    child_nonce: the nonce of the presented token; None unless its successor is the current token.
    rotated_at: when a rotation created the current token; None if a sign-in created it.
    """

    token_id: uuid.UUID
    child_nonce: bytes | None
    session_id: uuid.UUID
    session_expires_at: datetime
    user_id: uuid.UUID
    email: str
    current_id: uuid.UUID
    current_expires_at: datetime
    rotated_at: datetime | None
    now: datetime

    def in_grace_period(self, grace: timedelta) -> bool:
        """Return whether the last rotation is so recent that a client can repeat the refresh.

        If the clock has been set back, a rotation far in the future is not recent.
        """
        return self.rotated_at is not None and abs(self.now - self.rotated_at) < grace

    def reissue(self, token: RawToken) -> IssuedTokens:
        """Return the current token once more. token: the current token."""
        return IssuedTokens(
            user_id=self.user_id,
            session_id=self.session_id,
            refresh_token=token,
            refresh_seconds_left=(self.current_expires_at - self.now).total_seconds(),
            session_seconds_left=(self.session_expires_at - self.now).total_seconds(),
        )


async def refresh(
    database: Database, settings: Settings, token: RawToken | None, address: str | None = None
) -> IssuedTokens:
    """Exchange a refresh token for its successor.

    token: None if the request has no well-formed one. address: the client's, for the log.

    Raise `UnknownRefreshToken`, `SessionNotActive`, or `ReusedRefreshToken`. In the last case the
    session has been revoked, and the revocation is committed.
    """
    if token is None:
        raise UnknownRefreshToken
    # This is the most frequent request that writes.
    family, tokens = await database.run_in_transaction(partial(_refresh, settings, token))
    names = {"user_id": str(family.user_id), "session_id": str(family.session_id)}
    if tokens is None:
        # Not earlier: an exception inside the transaction would undo the revocation.
        log.warning("refresh_token_reuse", **names, client_address=address)
        await _send_notice(database, settings, family)
        raise ReusedRefreshToken
    log.debug("session_refreshed", **names)
    return tokens


async def _send_notice(database: Database, settings: Settings, family: TokenFamily) -> None:
    """Tell the user about the reuse. The response does not depend on it."""
    if not settings.can_send_mail:
        return
    try:
        async with database.sessions.begin() as db:
            await notify(db, settings, family.email, "token_reused")
    except (DatabaseUnavailable, SQLAlchemyError):
        log.exception("notice_not_enqueued", user_id=str(family.user_id))


def _refresh(
    settings: Settings, token: RawToken, db: Connection
) -> tuple[TokenFamily, IssuedTokens | None]:
    """Return the token family, and the tokens, or None for reuse.

    docs/security.md has the table of all cases.
    """
    family = _lock_token_family(db, token)
    in_grace_period = family.in_grace_period(timedelta(seconds=settings.refresh_grace_seconds))
    if family.token_id == family.current_id:
        if in_grace_period:
            return family, family.reissue(token)
        return family, _rotate(db, settings, token, family)
    if in_grace_period and family.child_nonce is not None:
        return family, family.reissue(derive_successor(token, family.child_nonce))
    db.execute(revocation(UserSession.id == family.session_id))
    return family, None


def _lock_token_family(db: Connection, token: RawToken) -> TokenFamily:
    values = {"token_hash": hash_token(token)}
    if db.scalar(LOCK_USER, values) is None:
        raise UnknownRefreshToken
    row = db.execute(TOKEN_FAMILY, values).mappings().one_or_none()
    if row is None:
        raise SessionNotActive
    return TokenFamily(**row)


def _rotate(
    db: Connection, settings: Settings, token: RawToken, family: TokenFamily
) -> IssuedTokens:
    nonce = secrets.token_bytes(NONCE_BYTES)
    row, tokens = issue_refresh_token(
        settings,
        family.user_id,
        family.session_id,
        derive_successor(token, nonce),
        family.now,
        family.session_expires_at,
    )
    db.execute(
        ROTATE,
        {
            "this_session": family.session_id,
            "now": family.now,
            "rotated": family.token_id,
            "nonce": nonce,
            **{f"new_{name}": value for name, value in row.items()},
        },
    )
    return tokens
