"""A user changes their email address, verifies it again, or deletes the account."""

import uuid

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.devices import Device
from app.core.emails import Email
from app.core.tokens import RawToken, hash_refresh_token
from app.jobs.queue import enqueue
from app.mail.job import send_later
from app.models import EmailToken, User, UserSession
from app.services.email_links import EmailPurpose, SendAddressLink
from app.services.errors import InvalidEmailToken, MailNotConfigured
from app.services.passwords.confirmation import confirmed_user
from app.services.rate_limits import email_link_limits
from app.services.resources import Resources
from app.services.sessions.authentication import AuthContext
from app.services.sessions.lock import lock_users
from app.services.sessions.revocation import revoke_sessions
from app.services.users import PublicUser, public_user

log = structlog.stdlib.get_logger(__name__)


async def delete_dependents(_db: AsyncSession, _user: User) -> None:
    """Delete what belongs to a user and does not follow by a foreign key, such as files.

    This is the place for your own work. It runs in the transaction that deletes the user.
    """


async def delete_account(
    resources: Resources, auth: AuthContext, *, current: str, device: Device | None = None
) -> None:
    """Delete a user and everything that belongs to the user. See `confirmed_user`."""
    async with confirmed_user(
        resources, auth, current, action="account_deletion", limits=[], device=device
    ) as confirmed:
        await delete_dependents(confirmed.db, confirmed.user)
        await send_later(confirmed.db, resources.settings, confirmed.user.email, "account_deleted")
        await confirmed.db.delete(confirmed.user)
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
    if not resources.settings.can_send_mail:
        raise MailNotConfigured
    async with confirmed_user(
        resources,
        auth,
        current,
        action="email_change",
        limits=email_link_limits(new_email, address),
        device=device,
    ) as confirmed:
        job = SendAddressLink(user_id=auth.user.id, email=new_email, purpose=EmailPurpose.CHANGE)
        await enqueue(confirmed.db, job)
        await send_later(
            confirmed.db, resources.settings, auth.user.email, "email_change_requested"
        )
    log.info("email_change_requested", user_id=str(auth.user.id))


async def request_verification(
    resources: Resources, auth: AuthContext, address: str | None
) -> None:
    """Send a link to the user's own address. Raise `MailNotConfigured` and `TooManyAttempts`."""
    if not resources.settings.can_send_mail:
        raise MailNotConfigured
    email = Email(auth.user.email)
    async with resources.database.transaction() as db:
        await resources.rate_limiter.hit(db, email_link_limits(email, address))
        job = SendAddressLink(user_id=auth.user.id, email=email, purpose=EmailPurpose.CHANGE)
        await enqueue(db, job)


async def set_email_by_link(
    resources: Resources, token: RawToken | None, keep: uuid.UUID | None
) -> PublicUser:
    """Set the address that a link was sent to, and verify it.

    keep: the session of the request. If the address changes, all other sessions are revoked.

    Raise `InvalidEmailToken` for every reason; a taken address is one of them.
    """
    if token is None:
        raise InvalidEmailToken
    valid = select(EmailToken).where(
        EmailToken.token_hash == hash_refresh_token(token),
        EmailToken.purpose == EmailPurpose.CHANGE,
        EmailToken.used_at.is_(None),
        EmailToken.expires_at > func.clock_timestamp(),
    )
    try:
        async with resources.database.transaction() as db:
            found = await db.scalar(valid)
            if found is None or found.user_id is None:
                raise InvalidEmailToken
            await lock_users(db, [found.user_id])
            row = await db.scalar(valid.with_for_update().execution_options(populate_existing=True))
            user = await db.get(User, found.user_id, populate_existing=True)
            if row is None or user is None or not user.is_active:
                raise InvalidEmailToken
            old = user.email
            row.used_at = func.clock_timestamp()
            user.email = row.email
            user.email_verified_at = func.clock_timestamp()
            await db.flush()
            if old != row.email:
                others = UserSession.id.is_distinct_from(keep)
                await revoke_sessions(db, (UserSession.user_id == user.id) & others)
                await db.execute(
                    update(EmailToken)
                    .where(EmailToken.user_id == user.id, EmailToken.used_at.is_(None))
                    .values(used_at=func.clock_timestamp()),
                    execution_options={"synchronize_session": False},
                )
                await send_later(db, resources.settings, old, "email_changed")
            await db.refresh(user)
            changed = public_user(user)
    except IntegrityError:
        raise InvalidEmailToken from None
    log.info("email_verified", user_id=str(changed.id))
    return changed
