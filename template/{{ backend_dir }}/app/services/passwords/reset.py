"""A link that was sent by mail sets a password: of a user, or of a new user."""

import uuid
from dataclasses import dataclass

import structlog
from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.tokens import RawToken, hash_refresh_token
from app.mail.job import send_later
from app.models import EmailToken, User, UserSession
from app.services.email_links import EmailPurpose
from app.services.errors import InvalidEmailToken
from app.services.passwords.policy import check_password
from app.services.rate_limits import networks
from app.services.resources import Resources
from app.services.sessions.creation import IssuedTokens, create_session
from app.services.sessions.lock import lock_users
from app.services.sessions.revocation import revoke_sessions
from app.services.users import PublicUser, public_user

log = structlog.stdlib.get_logger(__name__)

VALID_TOKEN = select(EmailToken.id, EmailToken.purpose, EmailToken.email, EmailToken.user_id).where(
    EmailToken.token_hash == bindparam("token_hash"),
    EmailToken.purpose.in_([EmailPurpose.RESET, EmailPurpose.SIGN_UP]),
    EmailToken.used_at.is_(None),
    EmailToken.expires_at > func.clock_timestamp(),
)


@dataclass(frozen=True)
class PasswordSet:
    """The user whose password was set, and the tokens of the new session."""

    user: PublicUser
    tokens: IssuedTokens


async def set_password_by_link(
    resources: Resources,
    token: RawToken | None,
    new_password: str,
    *,
    user_agent: str | None,
    address: str | None,
) -> PasswordSet:
    """Set the password of the user that a link was sent to, or create the user.

    The address is verified, all sessions of the user are revoked, and a new one is created.

    token: None if the request has no well-formed one. address: the client's.

    Raise `InvalidEmailToken` for every reason, `UnacceptablePassword`, and `HashingUnavailable`.
    """
    if token is None:
        raise InvalidEmailToken
    values = {"token_hash": hash_refresh_token(token)}
    found = await resources.database.select_one(VALID_TOKEN, values)
    if found is None:
        raise InvalidEmailToken
    check_password(resources.settings, Email(found.email), new_password)
    requester = resources.rate_limiter.requester(networks(address)[-1])
    password_hash = await resources.hasher.hash(new_password, requester)
    async with resources.database.transaction() as db:
        # The order of the locks is the user, then the token, as everywhere.
        if found.user_id is not None:
            await lock_users(db, [found.user_id])
        row = (await db.execute(VALID_TOKEN.with_for_update(), values)).one_or_none()
        if row is None:
            raise InvalidEmailToken
        user = await _save(db, row, password_hash)
        now = (await db.execute(select(func.clock_timestamp()))).scalar_one()
        await db.execute(update(EmailToken).where(EmailToken.id == row.id).values(used_at=now))
        await revoke_sessions(db, UserSession.user_id == user.id)
        tokens = await create_session(db, resources.settings, user.id, now, user_agent)
        if row.purpose == EmailPurpose.RESET:
            await send_later(db, resources.settings, user.email, "password_changed")
    event = "password_reset" if row.purpose == EmailPurpose.RESET else "user_signed_up"
    log.info(event, user_id=str(user.id), client_address=address)
    return PasswordSet(user, tokens)


async def _save(
    db: AsyncSession, token: Row[uuid.UUID, str, str, uuid.UUID | None], password_hash: str
) -> PublicUser:
    """Change the user of a token, or create one. Raise `InvalidEmailToken`."""
    values = {"password_hash": password_hash, "email_verified_at": func.clock_timestamp()}
    if token.purpose == EmailPurpose.SIGN_UP:
        user = await db.scalar(
            insert(User)
            .values(email=token.email, **values)
            .on_conflict_do_nothing(index_elements=[User.email])
            .returning(User)
        )
    else:
        user = await db.scalar(
            update(User)
            .where(User.id == token.user_id, User.email == token.email, User.is_active)
            .values(**values)
            .returning(User)
        )
    if user is None:
        raise InvalidEmailToken
    return public_user(user)
