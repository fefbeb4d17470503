"""The gate: what a call passes that takes a password from the network."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.security import PasswordHasher
from app.core.settings import Settings
from app.services.throttle import Throttle

# The hash may change between its check and the lock: once by a parallel login that upgrades it,
# and once more by a password change in between.
MAX_CHECKS: Final = 3


@dataclass(frozen=True)
class PasswordGate:
    """What such a call works with: its attempt is counted, its password hashed, the rest written.

    db: a session of the call's own. hasher, throttle: of the process.
    """

    db: AsyncSession
    hasher: PasswordHasher
    throttle: Throttle
    settings: Settings
