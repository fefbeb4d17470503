"""The resources that services use."""

from dataclasses import dataclass

from app.core.security import PasswordHasher
from app.core.settings import Settings
from app.db.session import Database
from app.services.rate_limits import RateLimiter


@dataclass(kw_only=True)
class Resources:
    """The settings and resources that all requests of a process share."""

    settings: Settings
    database: Database
    hasher: PasswordHasher
    rate_limiter: RateLimiter
