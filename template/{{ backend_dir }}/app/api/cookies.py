"""The cookies: their names and attributes, and how they are set and cleared."""

from typing import Final

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from app.core.devices import DEVICE_TTL_SECONDS, Device, DeviceTokens
from app.core.settings import SameSite, Settings
from app.core.tokens import AccessClaims, AccessTokens, RawToken, parse_token
from app.services.sessions.creation import IssuedTokens
from app.services.sessions.revocation import PresentedTokens

PATH: Final = "/"  # the __Host- prefix requires it


class AuthCookies:
    """Reads, sets and clears the HttpOnly cookies that contain the tokens.

    Because of the prefix, a browser rejects a cookie that a sibling subdomain or plain http tries
    to plant (RFC 6265bis 4.1.3; ASVS 5.0 3.3.3).
    """

    def __init__(self, settings: Settings) -> None:
        prefix = ""
        if settings.cookie_secure:
            prefix = "__Secure-" if settings.cookie_domain else "__Host-"
        if settings.cookie_name_prefix:
            prefix += f"{settings.cookie_name_prefix}-"
        self.access_name: Final = f"{prefix}access"
        self.refresh_name: Final = f"{prefix}refresh"
        self.device_name: Final = f"{prefix}device"
        self._domain = settings.cookie_domain
        self._secure = settings.cookie_secure
        self._samesite: SameSite = settings.cookie_samesite
        self._tokens = AccessTokens(settings)
        self._devices = DeviceTokens(settings)

    def set(self, response: Response, tokens: IssuedTokens) -> None:
        """Set the cookies of a session, with a new access token."""
        claims = AccessClaims(tokens.user_id, tokens.session_id)
        access, lifetime = self._tokens.issue(claims, tokens.session_seconds_left)
        self._set(response, self.access_name, access, lifetime)
        max_age = int(tokens.refresh_seconds_left)
        self._set(response, self.refresh_name, tokens.refresh_token, max_age)

    def clear(self, response: Response) -> None:
        """Clear the cookies of the session.

        A browser clears a `__Host-` cookie only if all attributes equal those that set it.
        """
        self._set(response, self.access_name, "", 0)
        self._set(response, self.refresh_name, "", 0)

    def set_device(self, response: Response, device: Device) -> None:
        """Set the cookie of a device on which a user signs in. Signing out does not clear it."""
        self._set(response, self.device_name, self._devices.issue(device), DEVICE_TTL_SECONDS)

    def device(self, request: Request) -> Device | None:
        """Return the device of the request, or None without a valid device cookie."""
        return self._devices.verify(request.cookies.get(self.device_name))

    def has_session_cookie(self, request: HTTPConnection) -> bool:
        """Return whether the request has a cookie of a session, valid or not."""
        return not request.cookies.keys().isdisjoint((self.access_name, self.refresh_name))

    def access_claims(self, request: HTTPConnection) -> AccessClaims | None:
        """Return the claims of the access token, or None without a valid one."""
        return self._tokens.verify(request.cookies.get(self.access_name))

    def refresh_token(self, request: Request) -> RawToken | None:
        """Return the refresh token, or None without a well-formed one."""
        return parse_token(request.cookies.get(self.refresh_name))

    def presented_tokens(self, request: Request) -> PresentedTokens:
        """Return the tokens of a request. The access token may have expired."""
        access = self._tokens.verify(request.cookies.get(self.access_name), allow_expired=True)
        return PresentedTokens(access.session_id if access else None, self.refresh_token(request))

    def _set(self, response: Response, name: str, value: str, max_age: int) -> None:
        response.set_cookie(
            name,
            value,
            max_age=max_age,
            path=PATH,
            domain=self._domain,
            secure=self._secure,
            httponly=True,
            samesite=self._samesite,
        )
