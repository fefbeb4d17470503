"""`seed`: adds example users to the database of a developer."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncSession

from app.cli.database import prepare_locally, run
from app.cli.errors import CommandError
from app.cli.reset import local_database_name
from app.core.security import PasswordHasher
from app.services.examples import EMAIL, PASSWORD, add_examples, example_users


def seed(*, count: int) -> None:
    """Add the example users that do not exist yet, and print how to sign in.

    count: how many more users to add, such as for a long list.
    """
    if count < 0:
        raise CommandError("--users takes a number that is not negative.")
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
    print(f'Administrator: {EMAIL}. Unless you have changed it, the password is "{PASSWORD}".')
