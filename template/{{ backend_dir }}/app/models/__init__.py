"""Every model, so that `Base.metadata` is complete once this package is imported."""

from app.db.base import Base
from app.models.attempt_count import AttemptCount
from app.models.audit_event import AuditEvent
from app.models.email_token import EmailToken
from app.models.personal_access_token import PersonalAccessToken
from app.models.refresh_token import RefreshToken
from app.models.session import UserSession
from app.models.user import User

__all__ = [
    "AttemptCount",
    "AuditEvent",
    "Base",
    "EmailToken",
    "PersonalAccessToken",
    "RefreshToken",
    "User",
    "UserSession",
]
