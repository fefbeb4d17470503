"""The cookies: their names, their attributes, and how they are set and cleared."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from app.core.devices import DEVICE_TTL_SECONDS, Device, DeviceTokens
from app.core.settings import SameSite, Settings
from app.core.tokens import AccessClaims, AccessTokens, RawToken, parse_refresh_token
from app.services.sessions.ending import Presented
from app.services.sessions.grant import Grant

PATH: Final = "/"  # the __Host- prefix demands it


class AuthCookies:
    """Carries tokens in cookies, HttpOnly, and nowhere else.

    The prefix makes a browser refuse a cookie that a sibling subdomain, or plain http, tries to
    plant (RFC 6265bis 4.1.3; ASVS 5.0 3.3.3).
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

    def set(self, response: Response, grant: Grant) -> None:
        """Hand out the tokens of a grant, with a fresh access token."""
        claims = AccessClaims(grant.user_id, grant.session_id)
        access, lifetime = self._tokens.issue(claims, grant.session_seconds_left)
        self._set(response, self.access_name, access, lifetime)
        self._set(response, self.refresh_name, grant.refresh_token, int(grant.refresh_seconds_left))

    def clear(self, response: Response) -> None:
        """Clear the cookies of the session.

        With every attribute that set them: otherwise a browser keeps a `__Host-` cookie.
        """
        self._set(response, self.access_name, "", 0)
        self._set(response, self.refresh_name, "", 0)

    def set_device(self, response: Response, device: Device) -> None:
        """Remember that a user has signed in on this device. Neither logout nor 401 clears it."""
        self._set(response, self.device_name, self._devices.issue(device), DEVICE_TTL_SECONDS)

    def device(self, request: Request) -> Device | None:
        """Return the device of the request, or None without a valid device cookie."""
        return self._devices.verify(request.cookies.get(self.device_name))

    def claims(self, request: Request) -> AccessClaims | None:
        """Give who is signed in, by the access token alone; None without a valid one."""
        return self._tokens.check(request.cookies.get(self.access_name))

    def refresh_token(self, request: Request) -> RawToken | None:
        """Give the refresh token, or None without a well-formed one."""
        return parse_refresh_token(request.cookies.get(self.refresh_name))

    def presented(self, request: Request) -> Presented:
        """Give the sessions that the cookies name, also when the access token has expired."""
        access = self._tokens.check(request.cookies.get(self.access_name), even_expired=True)
        return Presented(access.session_id if access else None, self.refresh_token(request))

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
