"""The dependencies of endpoints. All are async: FastAPI would run a plain function in a thread."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Final

import structlog
from fastapi import Depends, Header, Security
from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBearer
from fastapi.security.base import SecurityBase
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from starlette.requests import HTTPConnection

from app.api.middleware.origin_check import SAFE_METHODS
from app.api.state import AppState, state_of
from app.core.addresses import normalize_address
from app.core.personal_tokens import Scope, parse_personal_token
from app.core.roles import Role
from app.core.settings import Settings
from app.services.audit import Actor
from app.services.errors import NotAuthenticated, PermissionDenied
from app.services.personal_tokens import authenticate_token
from app.services.rag import DocumentIndex
from app.services.sessions.authentication import AuthContext, authenticate
from app.services.storage import Storage
from app.services.users import PublicUser

log = structlog.stdlib.get_logger(__name__)


async def get_state(request: HTTPConnection) -> AppState:
    """Return the state that all requests share."""
    return state_of(request.app)


State = Annotated[AppState, Depends(get_state)]


async def get_settings(state: State) -> Settings:
    """Return the settings that the application was created with."""
    return state.settings


async def get_client_address(request: HTTPConnection) -> str | None:
    """Return the client's address: the peer's, or the one that a trusted proxy names."""
    return normalize_address(request.client.host if request.client else None)


async def get_db(state: State) -> AsyncIterator[AsyncSession]:
    """Open a session for an endpoint, which commits with `async with db.begin():`.

    Nothing is committed here: the code after a dependency's `yield` runs after the response has
    been sent.
    """
    async with state.database.sessions() as session:
        yield session


async def get_reads(state: State) -> AsyncEngine:
    """Return the engine for a single SELECT, which costs one round trip; see `Database`."""
    return state.database.reads


CurrentSettings = Annotated[Settings, Depends(get_settings)]
ClientAddress = Annotated[str | None, Depends(get_client_address)]
UserAgent = Annotated[str | None, Header(include_in_schema=False)]
Db = Annotated[AsyncSession, Depends(get_db)]
Reads = Annotated[AsyncEngine, Depends(get_reads)]


class AccessCookie(SecurityBase):
    """Authenticates a request by its access cookie, in one dependency.

    model, scheme_name: its description and its name in the OpenAPI document.
    """

    def __init__(self) -> None:
        self.scheme_name = "AccessCookie"
        self.model = APIKey.model_validate(
            {
                "in": APIKeyIn.cookie,
                "name": "__Host-access",  # the default; `docs.py` sets the real name
                "description": "Send a login request; the browser then sends the cookie by itself.",
            }
        )

    async def __call__(self, request: HTTPConnection) -> AuthContext:
        """Return the user and the session. Raise `NotAuthenticated`, also for a revoked session."""
        # An endpoint may also have a `CurrentUser`, which calls this too.
        known: AuthContext | None = getattr(request.state, "auth", None)
        if known is not None:
            return known
        state = state_of(request.app)
        claims = state.cookies.access_claims(request)
        if claims is None:
            raise NotAuthenticated
        auth = await authenticate(state.database, claims)
        request.state.auth = auth
        request.state.user_id = str(auth.user.id)  # for the access log
        return auth


ACCESS_COOKIE = AccessCookie()
CurrentAuth = Annotated[AuthContext, Security(ACCESS_COOKIE)]


def require_role(*roles: Role) -> Callable[[AuthContext], Awaitable[AuthContext]]:
    """Return a dependency for endpoints that only users with one of these roles may use.

    Authentication has read the role in its own query, so this costs nothing, and a changed role
    applies to the next request.
    """

    async def check_role(auth: CurrentAuth) -> AuthContext:
        """Return the user and the session. Raise `PermissionDenied`."""
        if auth.user.role not in roles:
            log.warning("permission_denied", user_id=str(auth.user.id), role=auth.user.role)
            raise PermissionDenied
        return auth

    return check_role


async def get_actor(request: HTTPConnection, auth: CurrentAuth, address: ClientAddress) -> Actor:
    """Return the authenticated user and the request, for an audit event."""
    return Actor(auth.user.id, auth.session_id, request.state.request_id, address)


CurrentActor = Annotated[Actor, Depends(get_actor)]


class UserAuth(SecurityBase):
    """Authenticates a request by its access cookie or, without one, by a personal access token.

    model, scheme_name: see `AccessCookie`, which `docs.py` adds as an alternative.
    """

    def __init__(self) -> None:
        self.scheme_name = "PersonalAccessToken"
        self.model = HTTPBearer(
            description="A personal access token, if `ACCESS_TOKENS_ENABLED` is true."
        )

    async def __call__(self, request: HTTPConnection) -> PublicUser:
        """Return the authenticated user.

        Raise `NotAuthenticated`, `InvalidPersonalToken` and `InsufficientScope`.
        """
        token = self._read_token(request)
        if token is None:
            return (await ACCESS_COOKIE(request)).user
        # A WebSocket has no method, and counts as unsafe.
        is_safe = request.scope.get("method") in SAFE_METHODS
        scope = Scope.READ if is_safe else Scope.WRITE
        user = await authenticate_token(
            state_of(request.app).database, parse_personal_token(token), scope
        )
        request.state.user_id = str(user.id)  # for the access log
        return user

    @staticmethod
    def _read_token(request: HTTPConnection) -> str | None:
        """Return what follows `Bearer`, or None if the request has no token that counts.

        A cookie of a session takes precedence, even an invalid one. A request with both is
        therefore never treated as a request without cookies.
        """
        state = state_of(request.app)
        if not state.settings.access_tokens_enabled or state.cookies.has_session_cookie(request):
            return None
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        return text.strip() if scheme.lower() == "bearer" else None


get_current_user: Final = UserAuth()
CurrentUser = Annotated[PublicUser, Security(get_current_user)]


async def get_storage(state: State) -> Storage:
    """Return the storage for files. Raise `RuntimeError` if the project has none."""
    if state.storage is None:
        raise RuntimeError("app.state.storage is not set: see docs/extension-points.md")
    return state.storage


CurrentStorage = Annotated[Storage, Depends(get_storage)]


async def get_document_index(state: State) -> DocumentIndex:
    """Return the index to retrieve from. Raise `RuntimeError` if the project has none."""
    if state.document_index is None:
        raise RuntimeError("app.state.document_index is not set: see docs/extension-points.md")
    return state.document_index


CurrentDocumentIndex = Annotated[DocumentIndex, Depends(get_document_index)]
