"""The example users of the command `seed`."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.roles import Role
from app.models import User
from app.models.factories import make_user

EMAIL: Final = "ada@example.com"
PASSWORD: Final = "an example passphrase"  # noqa: S105 (only on a developer's machine; see `seed`)


def example_users(password_hash: str, count: int) -> list[User]:
    """Return the example users, whether they exist or not."""
    now = datetime.now(UTC)
    return [
        make_user(password_hash, email=EMAIL, email_verified_at=now, role=Role.ADMIN),
        make_user(password_hash, email="grace@example.com"),  # has not verified the address
        make_user(password_hash, email="alan@example.com", email_verified_at=now, is_active=False),
        *(
            make_user(password_hash, email=f"user-{number}@example.com", email_verified_at=now)
            for number in range(1, count + 1)
        ),
    ]


async def add_examples(db: AsyncSession, users: list[User]) -> list[User]:
    """Add the users that do not exist yet, in the caller's transaction. Return them."""
    emails = [user.email for user in users]
    existing = set(await db.scalars(select(User.email).where(User.email.in_(emails))))
    new = [user for user in users if user.email not in existing]
    db.add_all(new)
    await db.flush()
    # Add example rows of your own tables here. If they belong to `new` users, none is added twice.
    return new
