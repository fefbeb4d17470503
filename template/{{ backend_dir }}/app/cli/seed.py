"""`seed`: adds example users to the database of a developer."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.cli.database import prepare_locally, run
from app.cli.reset import local_database_name
from app.core.security import PasswordHasher
from app.models import User
from app.models.factories import make_user

EMAIL: Final = "ada@example.com"
PASSWORD: Final = "an example passphrase"  # noqa: S105 (for databases on a developer's machine)


def seed(*, count: int) -> None:
    """Add the example users that do not exist yet, and print how to sign in.

    count: how many more users to add, such as for a long list.
    """
    settings = prepare_locally("seed", "local", "test")
    # Everybody knows the password, so no server that others can reach may have it.
    local_database_name(settings.database_url.get_secret_value())
    hasher = PasswordHasher(settings.bcrypt_rounds)
    password_hash = asyncio.run(hasher.hash(PASSWORD))  # once, because it takes long
    hasher.close()

    async def work(db: AsyncSession) -> None:
        users = example_users(password_hash, count)
        async with db.begin():
            new = await add_examples(db, users)
        print(f"Users added: {len(new)}. Users left unchanged: {len(users) - len(new)}.")

    run(settings, work)
    print(f'Sign in as {EMAIL} with the password "{PASSWORD}", unless you have changed it.')


def example_users(password_hash: str, count: int) -> list[User]:
    """Return the example users, whether they exist or not."""
    now = datetime.now(UTC)
    return [
        make_user(password_hash, email=EMAIL, email_verified_at=now),
        make_user(password_hash, email="grace@example.com"),  # has not verified the address
        make_user(password_hash, email="alan@example.com", email_verified_at=now, is_active=False),
        *(
            make_user(password_hash, email=f"user-{number}@example.com", email_verified_at=now)
            for number in range(1, count + 1)
        ),
    ]


async def add_examples(db: AsyncSession, users: list[User]) -> list[User]:
    """Add the users that do not exist yet, in the caller's transaction. Return them."""
    existing = set(await db.scalars(select(User.email)))
    new = [user for user in users if user.email not in existing]
    db.add_all(new)
    await db.flush()
    # Add example rows of your own tables here. If they belong to `new` users, none is added twice.
    return new
