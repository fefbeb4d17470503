"""What endpoints ask for. All async: FastAPI would run a plain function in a thread."""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.cookies import AuthCookies
from app.core.security import PasswordHasher
from app.core.settings import Settings
from app.db.session import get_db
from app.services.errors import NotSignedIn
from app.services.users import PublicUser, get_signed_in_user

ACCESS_COOKIE = APIKeyCookie(
    name="__Host-access",  # the name of the default settings; `openapi.py` puts the real one
    scheme_name="AccessCookie",
    description="Set by login and refresh. HttpOnly: scripts can't read it, browsers send it.",
    auto_error=False,
)


async def get_settings(request: Request) -> Settings:
    """Give the settings that the application was created with."""
    settings: Settings = request.app.state.settings
    return settings


async def get_hasher(request: Request) -> PasswordHasher:
    """Give the password hasher of this process."""
    hasher: PasswordHasher = request.app.state.hasher
    return hasher


async def get_cookies(request: Request) -> AuthCookies:
    """Give what reads and writes the cookies."""
    cookies: AuthCookies = request.app.state.cookies
    return cookies


CurrentSettings = Annotated[Settings, Depends(get_settings)]
Hasher = Annotated[PasswordHasher, Depends(get_hasher)]
Cookies = Annotated[AuthCookies, Depends(get_cookies)]
Db = Annotated[AsyncSession, Depends(get_db)]


async def get_current_user(
    request: Request, cookies: Cookies, _scheme: Annotated[str | None, Security(ACCESS_COOKIE)]
) -> PublicUser:
    """Give the signed-in user. Raises `NotSignedIn`, also as soon as the session has ended."""
    claims = cookies.claims(request)
    if claims is None:
        raise NotSignedIn
    return await get_signed_in_user(request.app.state.database.reads, claims)


CurrentUser = Annotated[PublicUser, Depends(get_current_user)]
