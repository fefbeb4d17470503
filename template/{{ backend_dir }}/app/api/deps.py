"""What endpoints ask for. All async: FastAPI would run a plain function in a thread."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.api.cookies import AuthCookies
from app.core.addresses import normalize_address
from app.core.settings import Settings
from app.db.session import Database, get_db
from app.services.errors import NotSignedIn
from app.services.gate import PasswordGate
from app.services.rag import DocumentIndex
from app.services.storage import Storage
from app.services.users import PublicUser, SignedIn, get_signed_in


async def get_settings(request: Request) -> Settings:
    """Give the settings that the application was created with."""
    settings: Settings = request.app.state.settings
    return settings


async def get_client_address(request: Request) -> str | None:
    """Give the client's address: the peer's, or what a trusted proxy says (see `serve`)."""
    return normalize_address(request.client.host if request.client else None)


async def get_database(request: Request) -> Database:
    """Give the process's connections, for what needs no session."""
    database: Database = request.app.state.database
    return database


async def get_reads(request: Request) -> AsyncEngine:
    """Give what a single SELECT runs on; see `Database`."""
    database: Database = request.app.state.database
    return database.reads


async def get_cookies(request: Request) -> AuthCookies:
    """Give what reads and writes the cookies."""
    cookies: AuthCookies = request.app.state.cookies
    return cookies


CurrentSettings = Annotated[Settings, Depends(get_settings)]
ClientAddress = Annotated[str | None, Depends(get_client_address)]
UserAgent = Annotated[str | None, Header(include_in_schema=False)]
Cookies = Annotated[AuthCookies, Depends(get_cookies)]
CurrentDatabase = Annotated[Database, Depends(get_database)]
Reads = Annotated[AsyncEngine, Depends(get_reads)]
Db = Annotated[AsyncSession, Depends(get_db)]


async def get_gate(request: Request, db: Db) -> PasswordGate:
    """Give what a call works with that takes a password."""
    state = request.app.state
    return PasswordGate(db, state.database, state.hasher, state.throttle, state.settings)


Gate = Annotated[PasswordGate, Depends(get_gate)]


async def place_for_locking(database: CurrentDatabase) -> AsyncIterator[None]:
    """Hold a place for a request that locks its user's row; see `Database.place_for_locking`."""
    async with database.place_for_locking():
        yield


# The place is free again before the response is sent, however slowly the client reads it.
LOCKS_USER = Depends(place_for_locking, scope="function")


class AccessCookie(SecurityBase):
    """Who calls, by the access cookie. One dependency does it all: each more costs every request.

    model, scheme_name: what the OpenAPI document says of it.
    """

    def __init__(self) -> None:
        self.scheme_name = "AccessCookie"
        self.model = APIKey.model_validate(
            {
                "in": APIKeyIn.cookie,
                "name": "__Host-access",  # of the default settings; `docs.py` puts the real one
                "description": "Nothing to enter here: call login, and the browser keeps it and "
                "sends it along.",
            }
        )

    async def __call__(self, request: Request) -> SignedIn:
        """Give who calls. Raises `NotSignedIn`, also as soon as the session has ended."""
        state = request.app.state
        cookies: AuthCookies = state.cookies
        claims = cookies.claims(request)
        if claims is None:
            raise NotSignedIn
        signed_in = await get_signed_in(state.database, claims)
        request.state.user_id = str(signed_in.user.id)  # for the access log
        return signed_in


ACCESS_COOKIE = AccessCookie()
CurrentSignIn = Annotated[SignedIn, Security(ACCESS_COOKIE)]


async def get_current_user(signed_in: CurrentSignIn) -> PublicUser:
    """Give the signed-in user. Raises `NotSignedIn`."""
    return signed_in.user


CurrentUser = Annotated[PublicUser, Depends(get_current_user)]


async def get_storage(request: Request) -> Storage:
    """Give the files' storage. Raises `RuntimeError` while none is plugged in."""
    storage: Storage | None = getattr(request.app.state, "storage", None)
    if storage is None:
        raise RuntimeError("app.state.storage is not set: see app/services/storage/__init__.py")
    return storage


CurrentStorage = Annotated[Storage, Depends(get_storage)]


async def get_document_index(request: Request) -> DocumentIndex:
    """Give the index to retrieve from. Raises `RuntimeError` while none is plugged in."""
    index: DocumentIndex | None = getattr(request.app.state, "document_index", None)
    if index is None:
        raise RuntimeError("app.state.document_index is not set: see app/services/rag/__init__.py")
    return index


CurrentDocumentIndex = Annotated[DocumentIndex, Depends(get_document_index)]
