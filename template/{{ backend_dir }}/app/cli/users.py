"""Commands for users."""

import asyncio
import getpass
import sys

from app.cli.errors import CommandError
from app.core.emails import Email, normalize_email
from app.core.security import PasswordHasher
from app.core.settings import Settings
from app.core.startup import load_or_exit
from app.db.local import use_local_database
from app.db.session import Database
from app.services import users
from app.services.errors import EmailTaken, UnacceptablePassword


def create_user(email: str, *, from_stdin: bool) -> None:
    """Create a user, with a password that is asked for twice or read from standard input."""
    address = _parse_email(email)
    use_local_database()
    settings = load_or_exit()
    asyncio.run(_create_user(settings, address, _read_password(from_stdin=from_stdin)))
    print(f"Created {address}.")


async def _create_user(settings: Settings, email: Email, password: str) -> None:
    database = Database.from_settings(settings)
    hasher = PasswordHasher(settings.bcrypt_rounds)
    try:
        async with database.sessions() as db:
            await users.create_user(
                db, hasher, email, password, min_length=settings.password_min_length
            )
    except EmailTaken:
        raise CommandError(f"There is a user {email} already.") from None
    except UnacceptablePassword as error:
        raise CommandError(str(error)) from None
    finally:
        hasher.close()
        await database.close()


def _parse_email(text: str) -> Email:
    try:
        return normalize_email(text)
    except ValueError:
        raise CommandError("That is not an email address, such as ada@example.com.") from None


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise CommandError("The two passwords differ; nothing was done.")
    return password
