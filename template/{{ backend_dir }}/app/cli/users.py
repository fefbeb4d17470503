"""Commands for users and their sessions."""

import asyncio
import getpass
import sys
import warnings

from sqlalchemy.ext.asyncio import AsyncSession

from app.cli.database import prepare, run
from app.cli.errors import CommandError
from app.core.emails import Email, normalize_email
from app.core.roles import Role
from app.core.security import PasswordHasher
from app.core.settings import Settings
from app.services import administration
from app.services.passwords.policy import check_password


def create_user(email: str, *, from_stdin: bool, send_link: bool = False) -> None:
    """Create a user. Ask for the password twice, or read it from standard input.

    send_link: send a link to the address instead, with which the user chooses the password.
    """
    address, settings = _parse(email), prepare()
    new_hash = None if send_link else _read_new_password(settings, address, from_stdin=from_stdin)

    async def work(db: AsyncSession) -> None:
        if new_hash is None:
            await administration.invite(db, settings, address)
            print(f"A worker sends a link to {address}, which creates the user.")
        else:
            await administration.create_user(db, address, new_hash)
            print(f"Created {address}.")

    run(settings, work)


def set_password(email: str, *, from_stdin: bool) -> None:
    """Change a user's password, and revoke their sessions."""
    address, settings = _parse(email), prepare()
    new_hash = _read_new_password(settings, address, from_stdin=from_stdin)

    async def work(db: AsyncSession) -> None:
        await administration.replace_password(db, address, new_hash)
        print(f"Changed the password of {address} and ended their sessions.")

    run(settings, work)


def deactivate_user(email: str) -> None:
    """Deactivate a user, and revoke their sessions."""
    address = _parse(email)

    async def work(db: AsyncSession) -> None:
        await administration.deactivate_user(db, address)
        print(f"Deactivated {address} and ended their sessions.")

    run(prepare(), work)


def grant_role(email: str, role: Role) -> None:
    """Replace the role of a user."""
    address = _parse(email)

    async def work(db: AsyncSession) -> None:
        await administration.grant_role(db, address, role)
        print(f"{address} has the role {role} now.")

    run(prepare(), work)


def end_sessions(email: str | None) -> None:
    """Revoke the sessions of a user, or of all users."""
    address = None if email is None else _parse(email)

    async def work(db: AsyncSession) -> None:
        if address is None:
            count = await administration.revoke_all_sessions(db)
            print(f"Ended the sessions of {count} users.")
        else:
            await administration.revoke_sessions_of(db, address)
            print(f"Ended the sessions of {address}.")

    run(prepare(), work)


def _parse(text: str) -> Email:
    try:
        return normalize_email(text)
    except ValueError:
        raise CommandError("That is not an email address. An example is ada@example.com.") from None


def _read_new_password(settings: Settings, email: Email, *, from_stdin: bool) -> str:
    """Ask for a password, check it, and return its hash."""
    password = _read_line() if from_stdin else _ask_twice(settings.password_min_length)
    check_password(settings, email, password)
    hasher = PasswordHasher(settings.bcrypt_rounds)
    try:
        return asyncio.run(hasher.hash(password))
    finally:
        hasher.close()


def _read_line() -> str:
    try:
        return sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    except UnicodeDecodeError:
        raise CommandError("The password on standard input is not UTF-8 text.") from None


def _ask_twice(min_length: int) -> str:
    print(f"The password needs at least {min_length} characters.", flush=True)
    try:
        with warnings.catch_warnings(action="error", category=getpass.GetPassWarning):
            password = getpass.getpass("Password: ")
            repeated = getpass.getpass("Repeat password: ")
    except getpass.GetPassWarning:  # getpass would show the password
        raise CommandError(
            "There is no terminal to ask for a password; use --password-stdin."
        ) from None
    except EOFError:
        raise CommandError("\nNo password was entered; nothing was done.") from None
    if repeated != password:
        raise CommandError("The two passwords differ; nothing was done.")
    return password
