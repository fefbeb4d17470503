"""A link that was sent by mail sets a password: of a user, or of a new user."""

from dataclasses import dataclass, field

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.devices import Device
from app.core.emails import Email
from app.core.tokens import RawToken
from app.models import User, UserSession
from app.services.email_tokens import (
    EmailPurpose,
    FoundToken,
    find_email_token,
    use_email_token,
)
from app.services.errors import InvalidEmailToken
from app.services.notices import notify
from app.services.passwords.policy import check_password
from app.services.rate_limits import networks
from app.services.resources import Resources
from app.services.sessions.creation import create_session
from app.services.sessions.lock import lock_users
from app.services.sessions.login import Login
from app.services.sessions.revocation import (
    PresentedTokens,
    find_sessions,
    revoke_all_access,
    revoke_sessions,
)
from app.services.users import public_user

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class PasswordByLink:
    """A request to set a password.

    token: of the link; None if it is not well-formed.
    address: the client's address.
    presented: the tokens of the request; their sessions are revoked, as by a sign-in.
    device: the device of the request's device token, if that is valid.
    """

    token: RawToken | None = field(repr=False)
    new_password: str = field(repr=False)
    address: str | None
    user_agent: str | None
    presented: PresentedTokens
    device: Device | None = None


async def set_password_by_link(resources: Resources, request: PasswordByLink) -> Login:
    """Set the password of the user that a link was sent to, or create the user, and sign them in.

    The address is verified, all sessions of the user are revoked, and a new one is created.

    Raise `InvalidEmailToken` for every reason, `UnacceptablePassword`, and `HashingUnavailable`.
    """
    settings, database = resources.settings, resources.database
    purposes = (EmailPurpose.RESET, EmailPurpose.SIGN_UP)
    found = await find_email_token(database, request.token, *purposes)
    check_password(settings, Email(found.email), request.new_password)
    requester = resources.rate_limiter.requester(networks(request.address)[-1])
    password_hash = await resources.hasher.hash(request.new_password, requester)
    async with database.transaction() as db:
        presented = await find_sessions(db, request.presented)
        await lock_users(db, filter(None, [found.user_id, *(row.user_id for row in presented)]))
        await use_email_token(db, found)
        user = await _save(db, found, password_hash)
        if presented:
            await revoke_sessions(db, UserSession.id.in_([row.id for row in presented]))
        await revoke_all_access(db, [user.id])
        now = (await db.execute(select(func.clock_timestamp()))).scalar_one()
        tokens = await create_session(db, settings, user.id, now, request.user_agent)
        if found.purpose == EmailPurpose.RESET:
            await notify(db, settings, user.email, "password_changed")
    event = "password_reset" if found.purpose == EmailPurpose.RESET else "user_signed_up"
    log.info(event, user_id=str(user.id), client_address=request.address)
    known = request.device if request.device and request.device.user_id == user.id else None
    return Login(public_user(user), tokens, known or Device.new(user.id))


async def _save(db: AsyncSession, found: FoundToken, password_hash: str) -> User:
    """Change the user of a token, or create one. Raise `InvalidEmailToken`."""
    values = {"password_hash": password_hash, "email_verified_at": func.clock_timestamp()}
    if found.purpose == EmailPurpose.SIGN_UP:
        user: User | None = await db.scalar(
            insert(User)
            .values(email=found.email, **values)
            .on_conflict_do_nothing(index_elements=[User.email])
            .returning(User)
        )
    else:
        user = await db.scalar(
            update(User)
            .where(User.id == found.user_id, User.email == found.email, User.is_active)
            .values(**values)
            .returning(User)
        )
    if user is None:
        raise InvalidEmailToken
    return user
