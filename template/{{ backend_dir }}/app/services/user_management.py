"""What an administrator does to other users through the API."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.roles import GRANT_ROLES, MANAGE_USERS, Role
from app.db.pagination import Page, PageRequest, fetch_page
from app.db.session import Database
from app.jobs.queue import enqueue
from app.models import User
from app.services.administration import revoke_access, set_active, set_role
from app.services.audit import Actor, AuditAction, record
from app.services.email_links import SendLink, require_mail
from app.services.errors import OwnAccount, PermissionDenied, UserNotActive, UserNotFound
from app.services.rate_limits import recipient_limits
from app.services.resources import Resources
from app.services.sessions.authentication import authenticate_again
from app.services.sessions.lock import lock_users
from app.services.users import PublicUser, public_user


async def list_users(
    db: AsyncSession,
    page: PageRequest,
    *,
    email_prefix: str | None = None,
    role: Role | None = None,
    is_active: bool | None = None,
) -> Page[PublicUser]:
    """Return a page of users, the newest first. Raise `InvalidCursor`.

    email_prefix: how the address begins, in lower case.
    """
    statement = select(User)
    if email_prefix:
        statement = statement.where(User.email.startswith(email_prefix, autoescape=True))
    if role is not None:
        statement = statement.where(User.role == role)
    if is_active is not None:
        statement = statement.where(User.is_active == is_active)
    found = await fetch_page(db, statement, page, User.created_at, User.id, descending=True)
    return Page([public_user(user) for user in found.items], found.next_cursor)


async def get_user(db: AsyncSession, user_id: uuid.UUID) -> PublicUser:
    """Return a user. Raise `UserNotFound`."""
    user = await db.get(User, user_id)
    if user is None:
        raise UserNotFound
    return public_user(user)


async def update_user(
    database: Database,
    actor: Actor,
    user_id: uuid.UUID,
    *,
    is_active: bool | None = None,
    role: Role | None = None,
) -> PublicUser:
    """Change what is not None.

    Raise `OwnAccount`, `UserNotFound`, `PermissionDenied` and `NotAuthenticated`.
    """
    if user_id == actor.user_id:
        raise OwnAccount
    async with _managing(database, actor, user_id, grants_role=role is not None) as db:
        if role is not None:
            await set_role(db, actor, user_id, role)
        if is_active is not None:
            await set_active(db, actor, user_id, is_active=is_active)
        return await get_user(db, user_id)


async def revoke_sessions(database: Database, actor: Actor, user_id: uuid.UUID) -> None:
    """Revoke the sessions, tokens and links of a user.

    Raise `UserNotFound`, `PermissionDenied` and `NotAuthenticated`.
    """
    async with _managing(database, actor, user_id) as db:
        await revoke_access(db, actor, user_id)


async def send_link(resources: Resources, actor: Actor, user_id: uuid.UUID) -> None:
    """Send a user a link to choose a new password.

    Raise `UserNotFound`, `UserNotActive`, `PermissionDenied`, `NotAuthenticated`,
    `MailNotConfigured` and `TooManyAttempts`.
    """
    require_mail(resources.settings)
    async with _managing(resources.database, actor, user_id) as db:
        user = await get_user(db, user_id)
        if not user.is_active:
            raise UserNotActive
        await resources.rate_limiter.hit(db, recipient_limits(user.email))
        await enqueue(db, SendLink(email=Email(user.email)))
        record(db, actor, AuditAction.EMAIL_LINK_SENT, user_id)


@asynccontextmanager
async def _managing(
    database: Database, actor: Actor, user_id: uuid.UUID, *, grants_role: bool = False
) -> AsyncIterator[AsyncSession]:
    """Begin a transaction in which the actor may change a user, whose row is locked.

    It locks the actor too, and authenticates the actor again. Of two administrators who take each
    other's role at the same time, one comes too late, so that the other one remains. A session that
    was revoked while this waited changes nothing.
    """
    if actor.user_id is None or actor.session_id is None:
        raise PermissionDenied
    async with database.transaction() as db:
        await lock_users(db, [actor.user_id, user_id])
        role = (await authenticate_again(db, actor.user_id, actor.session_id)).role
        if role not in MANAGE_USERS:
            raise PermissionDenied
        user = await get_user(db, user_id)
        if (grants_role or user.role in GRANT_ROLES) and role not in GRANT_ROLES:
            raise PermissionDenied
        yield db
