"""Endpoints for administrators: users, and the audit trail."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.api.deps import (
    CurrentActor,
    Db,
    State,
    require_role,
)
from app.api.pagination import PageOut, RequestedPage
from app.api.problems import problem_responses
from app.api.schemas import AuditEventOut, EmailPrefix, UserChange, UserOut
from app.core.roles import MANAGE_USERS, READ_AUDIT_EVENTS, Role
from app.db.pagination import Page
from app.models import AuditEvent
from app.services import audit, user_management
from app.services.users import PublicUser

users = APIRouter(
    prefix="/users",
    dependencies=[Depends(require_role(*MANAGE_USERS))],
    responses=problem_responses(422),
)
audit_events = APIRouter(
    prefix="/audit-events",
    dependencies=[Depends(require_role(*READ_AUDIT_EVENTS))],
    responses=problem_responses(422),
)


@users.get("", response_model=PageOut[UserOut])
async def list_users(
    db: Db,
    page: RequestedPage,
    email: EmailPrefix = None,
    role: Role | None = None,
    *,
    is_active: bool | None = None,
) -> Page[PublicUser]:
    """List the users, the newest first."""
    return await user_management.list_users(
        db, page, email_prefix=email, role=role, is_active=is_active
    )


@users.get("/{user_id}", response_model=UserOut, responses=problem_responses(404))
async def read_user(user_id: uuid.UUID, db: Db) -> PublicUser:
    """Return a user."""
    return await user_management.get_user(db, user_id)


@users.patch("/{user_id}", response_model=UserOut, responses=problem_responses(404, 413, 415))
async def update_user(
    user_id: uuid.UUID, change: UserChange, actor: CurrentActor, state: State
) -> PublicUser:
    """Activate or deactivate another user, or change their role."""
    return await user_management.update_user(
        state.database, actor, user_id, is_active=change.is_active, role=change.role
    )


@users.delete("/{user_id}/sessions", status_code=204, responses=problem_responses(404, 413))
async def end_sessions_of_user(user_id: uuid.UUID, actor: CurrentActor, state: State) -> None:
    """Revoke all sessions and personal access tokens of a user, and invalidate the links."""
    await user_management.revoke_sessions(state.database, actor, user_id)


@users.post(
    "/{user_id}/email-link", status_code=202, responses=problem_responses(404, 409, 413, 429)
)
async def send_link_to_user(user_id: uuid.UUID, actor: CurrentActor, state: State) -> None:
    """Send a user a link to choose a new password."""
    await user_management.send_link(state, actor, user_id)


@audit_events.get("", response_model=PageOut[AuditEventOut])
async def list_audit_events(
    db: Db,
    page: RequestedPage,
    actor_id: Annotated[uuid.UUID | None, Query()] = None,
    subject_id: Annotated[uuid.UUID | None, Query()] = None,
) -> Page[AuditEvent]:
    """List what administrators and commands did, the newest first."""
    return await audit.list_events(db, page, actor_id=actor_id, subject_id=subject_id)


router = APIRouter(prefix="/admin", tags=["admin"], responses=problem_responses(401, 403, 503))
router.include_router(users)
router.include_router(audit_events)
