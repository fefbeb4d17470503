"""Roles, and what they may do.

A team adds its roles and permissions here. A role is a text in the database, so a new one needs no
migration. A role that this code does not know may do nothing.
"""

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """The role of a user."""

    USER = "user"
    ADMIN = "admin"


# A permission is the set of roles that have it: `require_role(*MANAGE_USERS)`.
MANAGE_USERS: Final = frozenset({Role.ADMIN})
# Whoever may grant roles can have every permission. Only they may change others who may.
GRANT_ROLES: Final = frozenset({Role.ADMIN})
READ_AUDIT_EVENTS: Final = frozenset({Role.ADMIN})
