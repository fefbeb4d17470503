"""Factories: new rows with plausible values, for the command `seed` and for the tests.

A factory returns a row that its caller adds to a session. The caller passes only the values that
matter to it.
"""

import uuid

from app.models.user import User


def make_user(password_hash: str, **values: object) -> User:
    """Return a new user with a unique address. values: those of other columns."""
    user_id = uuid.uuid4()  # known before the user is stored, so that other rows can refer to it
    defaults = {"id": user_id, "email": f"{user_id.hex}@example.com"}
    return User(**defaults | values, password_hash=password_hash)
