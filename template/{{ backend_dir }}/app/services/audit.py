"""The audit trail: who changed what about whom, and when."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.pagination import Page, PageRequest, fetch_page
from app.models import AuditEvent


class AuditAction(StrEnum):
    """What an event says that the actor did. A team adds its own actions here."""

    USER_CREATED = "user_created"
    USER_INVITED = "user_invited"
    USER_ACTIVATED = "user_activated"
    USER_DEACTIVATED = "user_deactivated"
    ROLE_CHANGED = "role_changed"
    PASSWORD_SET = "password_set"  # noqa: S105 - not a password
    EMAIL_LINK_SENT = "email_link_sent"
    SESSIONS_REVOKED = "sessions_revoked"
    ALL_SESSIONS_REVOKED = "all_sessions_revoked"


@dataclass(frozen=True)
class Actor:
    """Who makes a change, and with which request.

    user_id, session_id: None for a command. address: the client's.
    """

    user_id: uuid.UUID | None = None
    session_id: uuid.UUID | None = None
    request_id: str | None = None
    address: str | None = None


COMMAND = Actor()
"""The actor of the commands of `python -m app`."""


def record(
    db: AsyncSession,
    actor: Actor,
    action: AuditAction,
    subject_id: uuid.UUID | None = None,
    **details: str,
) -> None:
    """Add an event in the caller's transaction: it is saved if and only if the change is.

    subject_id: the user whom the change concerns. details: what changed; no secrets, and no
        personal data, because events outlive their users.
    """
    db.add(
        AuditEvent(
            actor_id=actor.user_id,
            action=action,
            subject_id=subject_id,
            details=details,
            request_id=actor.request_id,
            address=actor.address,
        )
    )


def after_commit(db: AsyncSession, log: Callable[[], object]) -> None:
    """Log something when the caller's transaction has been committed, and not if it fails."""
    event.listen(db.sync_session, "after_commit", lambda _: log(), once=True)


async def list_events(
    db: AsyncSession,
    page: PageRequest,
    *,
    actor_id: uuid.UUID | None = None,
    subject_id: uuid.UUID | None = None,
) -> Page[AuditEvent]:
    """Return a page of events, the newest first. Raise `InvalidCursor`."""
    statement = select(AuditEvent)
    if actor_id is not None:
        statement = statement.where(AuditEvent.actor_id == actor_id)
    if subject_id is not None:
        statement = statement.where(AuditEvent.subject_id == subject_id)
    return await fetch_page(db, statement, page, AuditEvent.id, descending=True)
