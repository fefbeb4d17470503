"""The schemas of requests and responses."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from app.core.emails import MAX_LENGTH as EMAIL_MAX_LENGTH
from app.core.emails import fold, normalize_email
from app.core.personal_tokens import Scope
from app.core.roles import Role
from app.core.security import MAX_LENGTH as PASSWORD_MAX_LENGTH

EmailText = Annotated[
    str,
    StringConstraints(max_length=EMAIL_MAX_LENGTH * 4),
    AfterValidator(normalize_email),
    Field(json_schema_extra={"format": "email"}),
]
Password = Annotated[
    str,
    # bcrypt rejects NUL. The minimum length is not checked here: old passwords must still work.
    StringConstraints(min_length=1, max_length=PASSWORD_MAX_LENGTH, pattern=r"^[^\x00]+$"),
    Field(json_schema_extra={"format": "password"}),
]


class Status(BaseModel):
    """The response of a health check."""

    status: str = "ok"


class UserOut(BaseModel):
    """A user."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    email: str
    email_verified: bool
    is_active: bool
    # Not a `Role`: the database may contain a role that another version of the code knows.
    role: str
    created_at: datetime


class LoginForm(BaseModel):
    """The fields of OAuth2's password grant (RFC 6749 4.3.2) that the login endpoint uses."""

    username: Annotated[
        str,
        StringConstraints(max_length=EMAIL_MAX_LENGTH * 4, pattern=r"^[^\x00]*$"),
        Field(description="The email address."),
    ]
    password: Password


class PasswordChange(BaseModel):
    """The current password and the new one."""

    current_password: Password
    new_password: Password


class EmailIn(BaseModel):
    """An email address."""

    email: EmailText


class PasswordIn(BaseModel):
    """The token of a link that was sent by mail, and the new password."""

    token: Annotated[str, StringConstraints(max_length=200)]
    new_password: Password


class EmailChange(BaseModel):
    """The new email address and the current password."""

    new_email: EmailText
    current_password: Password


class EmailTokenIn(BaseModel):
    """The token of a link that was sent by mail."""

    token: Annotated[str, StringConstraints(max_length=200)]


class PasswordConfirmation(BaseModel):
    """The current password."""

    current_password: Password


class PersonalTokenIn(BaseModel):
    """What a new personal access token is for, what it allows, and when it expires."""

    name: Annotated[
        str,
        # Postgres rejects NUL.
        StringConstraints(
            strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00]+$"
        ),
    ]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    expires_in_days: Annotated[int, Field(ge=1, le=365)]


class PersonalTokenOut(BaseModel):
    """An active personal access token. `last_used_at` is exact to the hour; null if never used."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class CreatedTokenOut(PersonalTokenOut):
    """A new personal access token. No other response contains `token`."""

    token: str


EmailPrefix = Annotated[
    str | None,
    Query(
        max_length=EMAIL_MAX_LENGTH,
        pattern=r"^[^\x00]*$",  # Postgres rejects NUL
        description="How the address begins.",
    ),
    AfterValidator(lambda text: text and fold(text)),
]


class UserChange(BaseModel):
    """What an administrator changes about a user. A field that is missing stays as it is."""

    model_config = ConfigDict(extra="forbid")

    is_active: bool | None = None
    role: Role | None = None


class AuditEventOut(BaseModel):
    """What somebody changed.

    `actor_id` is null for a command, and `subject_id` for a change that concerns no single user.
    """

    model_config = ConfigDict(from_attributes=True)

    id: int
    created_at: datetime
    actor_id: uuid.UUID | None
    action: str
    subject_id: uuid.UUID | None
    details: dict[str, str]
    request_id: str | None
    address: str | None


class SessionOut(BaseModel):
    """An active session of the user: a device that is signed in."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None
    current: bool


class UserIn(BaseModel):
    """The email address and the password of a new user."""

    email: EmailText
    password: Password
