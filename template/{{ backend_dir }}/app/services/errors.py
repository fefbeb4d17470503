"""The errors of services. `app/api/problems.py` says which response each one leads to."""

from datetime import timedelta


class ServiceError(Exception):
    """An error that the response reports to the client."""


class InvalidCredentials(ServiceError):
    """The password is wrong, or the user does not exist or is deactivated."""


class NotAuthenticated(ServiceError):
    """The request has no valid access token of an active session."""


class UnknownRefreshToken(ServiceError):
    """The request has no refresh token, or one that the server has not issued."""


class ReusedRefreshToken(ServiceError):
    """The request has a rotated refresh token; the session has been revoked."""


class SessionNotActive(ServiceError):
    """The session has been revoked or has expired, or its user is deactivated."""


class SignupDisabled(ServiceError):
    """The settings do not allow users to sign up."""


class EmailTaken(ServiceError):
    """A user has this email address already."""


class InvalidEmailToken(ServiceError):
    """The token of a link is unknown, expired or used."""


class MailNotConfigured(ServiceError):
    """The settings name no SMTP server."""


class UnacceptablePassword(ServiceError):
    """The new password breaks a rule; the message says which one."""


class WrongPassword(ServiceError):
    """The current password of a user is wrong."""


class InvalidPersonalToken(ServiceError):
    """The personal access token is malformed, unknown, expired or revoked."""


class InsufficientScope(ServiceError):
    """The personal access token does not allow the request. scope: the one that it lacks."""

    def __init__(self, scope: str) -> None:
        super().__init__("insufficient scope")
        self.scope = scope


class PersonalTokenNotFound(ServiceError):
    """The user has no such personal access token."""


class TooManyPersonalTokens(ServiceError):
    """The user has as many personal access tokens as are allowed."""


class SessionNotFound(ServiceError):
    """The user has no such session."""


class PermissionDenied(ServiceError):
    """The role of the user does not allow the request."""


class OwnAccount(ServiceError):
    """Administrators cannot change their own role, or deactivate or delete themselves."""


class UserNotActive(ServiceError):
    """The user is deactivated."""


class TooManyAttempts(ServiceError):
    """A rate limit is reached. wait: the time until its period ends."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__("too many attempts")
        self.wait = wait


class TooManyStreams(ServiceError):
    """The user has too many open streams."""


class ServerStopping(ServiceError):
    """The server stops, and ends all streams."""


class UserNotFound(ServiceError):
    """There is no such user."""
