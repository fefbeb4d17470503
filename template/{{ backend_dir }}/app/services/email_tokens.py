"""Email tokens: the single-use tokens in links that are sent by mail.

A client that presents a token has read a message to its address, so the address belongs to the
user. A token is stored only as its SHA-256, like a refresh token.
"""

import uuid
from datetime import timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Row,
    Text,
    any_,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.emails import Email
from app.core.tokens import RawToken, generate_token, hash_token
from app.db.session import Database
from app.models import EmailToken
from app.services.errors import InvalidEmailToken


class EmailPurpose(StrEnum):
    """What a link is for."""

    RESET = "reset"
    SIGN_UP = "sign_up"
    CHANGE = "email"


LIFETIMES: Final = {
    EmailPurpose.RESET: timedelta(minutes=30),
    EmailPurpose.SIGN_UP: timedelta(hours=24),
    EmailPurpose.CHANGE: timedelta(hours=24),
}

IS_VALID: Final = EmailToken.used_at.is_(None) & (EmailToken.expires_at > func.clock_timestamp())
FIND: Final = select(EmailToken.id, EmailToken.purpose, EmailToken.email, EmailToken.user_id).where(
    EmailToken.token_hash == bindparam("token_hash"),
    EmailToken.purpose == any_(bindparam("purposes", type_=ARRAY(Text))),
    IS_VALID,
)

FoundToken = Row[uuid.UUID, str, str, uuid.UUID | None]


async def reserve_email_token(
    db: AsyncSession, purpose: EmailPurpose, email: Email, user_id: uuid.UUID | None
) -> uuid.UUID:
    """Add a row without a token, and invalidate the older ones of the same purpose.

    user_id: the user that the token is about; None for an address without a user.

    Return the ID of the row, for `issue_email_token`.
    """
    whose = (
        EmailToken.user_id.is_(None) & (EmailToken.email == email)
        if user_id is None
        else EmailToken.user_id == user_id
    )
    await invalidate_email_tokens(db, whose & (EmailToken.purpose == purpose))
    row_id = uuid.uuid4()
    await db.execute(
        insert(EmailToken).values(
            id=row_id,
            purpose=purpose,
            email=email,
            user_id=user_id,
            expires_at=func.clock_timestamp() + LIFETIMES[purpose],
        )
    )
    return row_id


async def issue_email_token(
    db: AsyncSession, row_id: uuid.UUID, purpose: EmailPurpose
) -> RawToken | None:
    """Return a new token for a row; its lifetime begins now. A former token of the row is invalid.

    Return None if the row has expired or was invalidated since it was reserved.
    """
    token = generate_token()
    issued = await db.execute(
        update(EmailToken)
        .where(EmailToken.id == row_id, IS_VALID)
        .values(
            token_hash=hash_token(token),
            expires_at=func.clock_timestamp() + LIFETIMES[purpose],
        )
        .returning(EmailToken.id),
        execution_options={"synchronize_session": False},
    )
    return token if issued.one_or_none() else None


async def find_email_token(
    database: Database, token: RawToken | None, *purposes: EmailPurpose
) -> FoundToken:
    """Return the `id`, `purpose`, `email` and `user_id` of a valid token.

    token: None if the request has no well-formed one.

    Raise `InvalidEmailToken` if the token is unknown, used, expired or for another purpose.
    """
    if token is None:
        raise InvalidEmailToken
    values = {"token_hash": hash_token(token), "purposes": list(purposes)}
    found = await database.select_one(FIND, values)
    if found is None:
        raise InvalidEmailToken
    return found


async def use_email_token(db: AsyncSession, found: FoundToken) -> None:
    """Mark a token as used. Raise `InvalidEmailToken` if it has become invalid.

    Call it with the user's row locked, because everything else locks the user before the token.
    """
    used = await db.execute(
        update(EmailToken)
        .where(EmailToken.id == found.id, IS_VALID)
        .values(used_at=func.clock_timestamp())
        .returning(EmailToken.id),
        execution_options={"synchronize_session": False},
    )
    if used.one_or_none() is None:
        raise InvalidEmailToken


async def invalidate_email_tokens(db: AsyncSession, which: ColumnElement[bool]) -> None:
    """Invalidate the tokens that match, also those whose message has not been sent yet."""
    await db.execute(
        update(EmailToken)
        .where(which, EmailToken.used_at.is_(None))
        .values(used_at=func.clock_timestamp()),
        execution_options={"synchronize_session": False},
    )
