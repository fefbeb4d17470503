"""A user changes their email address, verifies it again, or deletes the account."""

import structlog
from sqlalchemy import delete, func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.devices import Device
from app.core.emails import Email
from app.core.roles import GRANT_ROLES
from app.core.settings import Settings
from app.core.tokens import RawToken
from app.models import EmailToken, User, UserSession
from app.services.email_links import require_mail, send_address_link
from app.services.email_tokens import (
    EmailPurpose,
    FoundToken,
    find_email_token,
    invalidate_email_tokens,
    use_email_token,
)
from app.services.errors import InvalidEmailToken, OwnAccount, TooManyAttempts
from app.services.notices import notify
from app.services.passwords.confirmation import confirmed_user
from app.services.rate_limits import account_link_limits
from app.services.resources import Resources
from app.services.sessions.authentication import AuthContext, authenticate_again
from app.services.sessions.lock import lock_users
from app.services.sessions.revocation import PresentedTokens, find_sessions, revoke_sessions
from app.services.users import PublicUser, public_user

log = structlog.stdlib.get_logger(__name__)


async def delete_dependents(_db: AsyncSession, _user: User) -> None:
    """Delete what belongs to a user and does not follow by a foreign key, such as files.

    This is the place for your own work. It runs in the transaction that deletes the user.
    """


async def delete_account(
    resources: Resources, auth: AuthContext, *, current: str, device: Device | None = None
) -> None:
    """Delete a user and everything that belongs to the user.

    Raise `OwnAccount` for an administrator, because the last one must remain, and what
    `confirmed_user` raises.
    """
    async with confirmed_user(
        resources,
        auth,
        current,
        failed="account_deletion_failed",
        throttled="account_deletion_throttled",
        limits=[],
        device=device,
    ) as confirmed:
        db, user = confirmed.db, confirmed.user
        if user.role in GRANT_ROLES:
            raise OwnAccount
        await delete_dependents(db, user)
        await notify(db, resources.settings, user.email, "account_deleted")
        await db.execute(delete(EmailToken).where(EmailToken.email == user.email))
        await db.delete(user)
    log.info("account_deleted", user_id=str(auth.user.id))


async def request_email_change(
    resources: Resources,
    auth: AuthContext,
    *,
    new_email: Email,
    current: str,
    address: str | None,
    device: Device | None = None,
) -> None:
    """Send a link to the new address, and a notice to the old one.

    The response does not tell whether the new address is taken. Raise `MailNotConfigured`, and what
    `confirmed_user` raises.
    """
    settings = resources.settings
    require_mail(settings)
    async with confirmed_user(
        resources,
        auth,
        current,
        failed="email_change_failed",
        throttled="email_change_throttled",
        limits=account_link_limits(str(auth.user.id), new_email, address),
        device=device,
    ) as confirmed:
        await send_address_link(confirmed.db, new_email, auth.user.id)
        await notify(confirmed.db, settings, confirmed.user.email, "email_change_requested")
    log.info("email_change_requested", user_id=str(auth.user.id))


async def request_verification(
    resources: Resources, auth: AuthContext, address: str | None
) -> None:
    """Send a link to the user's own address.

    Raise `MailNotConfigured`, `TooManyAttempts`, and `NotAuthenticated` if another request has
    revoked the session.
    """
    require_mail(resources.settings)
    user_id = str(auth.user.id)
    try:
        async with resources.database.transaction() as db:
            await lock_users(db, [auth.user.id])
            user = await authenticate_again(db, auth.user.id, auth.session_id)
            await send_address_link(db, Email(user.email), auth.user.id)
            limits = account_link_limits(user_id, user.email, address)
            await resources.rate_limiter.hit(db, limits)
    except TooManyAttempts:
        log.warning("email_link_throttled", user_id=user_id, client_address=address)
        raise


async def set_email_by_link(
    resources: Resources, token: RawToken | None, presented: PresentedTokens
) -> PublicUser:
    """Set the address that a link was sent to, and verify it.

    token: None if the request has no well-formed one.
    presented: the tokens of the request. If the address changes, all sessions of the user but
        theirs are revoked.

    Raise `InvalidEmailToken` for every reason; a taken address is one of them.
    """
    found = await find_email_token(resources.database, token, EmailPurpose.CHANGE)
    try:
        async with resources.database.transaction() as db:
            user = await _set_email(db, found, presented, resources.settings)
    except IntegrityError:
        raise InvalidEmailToken from None
    log.info("email_verified", user_id=str(user.id))
    return user


async def _set_email(
    db: AsyncSession, found: FoundToken, presented: PresentedTokens, settings: Settings
) -> PublicUser:
    await lock_users(db, filter(None, [found.user_id]))
    await use_email_token(db, found)
    user = await db.get(User, found.user_id)
    if user is None or not user.is_active:
        raise InvalidEmailToken
    old, user.email = user.email, found.email
    user.email_verified_at = func.clock_timestamp()
    await db.flush()
    if old != user.email:
        others = UserSession.id.not_in([row.id for row in await find_sessions(db, presented)])
        await revoke_sessions(db, (UserSession.user_id == user.id) & others)
        await invalidate_email_tokens(db, EmailToken.user_id == user.id)
        await notify(db, settings, old, "email_changed")
    await db.refresh(user)
    return public_user(user)
