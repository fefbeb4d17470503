"""What can go wrong in a service. What it means over HTTP is decided in `app/api/problems.py`."""

from datetime import timedelta


class ServiceError(Exception):
    """A refusal that the caller is told about."""


class InvalidCredentials(ServiceError):
    """Wrong password, unknown user or disabled user: one answer for all three."""


class NotAuthenticated(ServiceError):
    """No access token, or one that is no longer valid."""


class UnknownRefreshToken(ServiceError):
    """No refresh token, a malformed one, or one that was never issued."""


class ReusedRefreshToken(ServiceError):
    """A token that was rotated away came back: the session has been ended."""


class SessionNotActive(ServiceError):
    """The session has been logged out, has expired, or its user is disabled."""


class SignupDisabled(ServiceError):
    """This deployment creates its users itself."""


class EmailTaken(ServiceError):
    """There is a user with this email address."""


class UnacceptablePassword(ServiceError):
    """The new password breaks a rule; the message says which, and never the password."""


class WrongPassword(ServiceError):
    """The current password, asked for once more, is wrong."""


class SessionNotFound(ServiceError):
    """There is no such session of this user."""


class TooManyAttempts(ServiceError):
    """The limit is reached. `wait`: how long until it begins anew."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__("too many attempts")
        self.wait = wait


class UserNotFound(ServiceError):
    """There is no user with this email address."""
