"""The application: `create_app(settings)`, and `app` for an ASGI server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from app.api import v1
from app.api.docs import add_docs, describe
from app.api.handlers import handle_http_exception, handle_validation_error
from app.api.health import add_health
from app.api.middleware.access_log import AccessLogMiddleware
from app.api.middleware.body_limit import BodyLimitMiddleware
from app.api.middleware.errors import ErrorMiddleware
from app.api.middleware.origin_check import OriginCheckMiddleware
from app.api.middleware.origin_hint import OriginHintMiddleware
from app.api.middleware.proxy_hint import ProxyHintMiddleware
from app.api.middleware.request_id import RequestIdMiddleware
from app.api.state import AppState, state_of
from app.api.v1 import admin
from app.core.settings import PROJECT_NAME, Settings
from app.core.shutdown import delay_shutdown
from app.core.startup import load_or_exit
from app.core.telemetry import telemetry_config
from app.jobs.job import JobContext
from app.worker.runner import worker_beside


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open and close the state. The database may be unavailable at the start."""
    state = state_of(app)
    state.open()
    with delay_shutdown(state, state.settings.shutdown_delay_seconds):
        async with worker_beside(JobContext(state.settings, state.database)):
            yield
    await state.close()


def create_app(settings: Settings) -> FastAPI:
    """Build an application. This opens no connection; a process can build several."""
    scheme = settings.own_scheme
    hints = [Middleware(OriginHintMiddleware, origins=settings.cors_origins, scheme=scheme)]
    app = FastAPI(
        title=PROJECT_NAME,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would contain the Host header of the request
        openapi_url="/openapi.json" if settings.docs_are_on else None,
        exception_handlers={
            HTTPException: handle_http_exception,
            RequestValidationError: handle_validation_error,
        },
        middleware=[
            Middleware(RequestIdMiddleware, hsts=settings.environment == "production"),
            Middleware(AccessLogMiddleware),
            *(hints if settings.environment == "local" else []),
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_credentials=True,
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["Content-Type", "X-Request-ID"],
                expose_headers=["X-Request-ID", "Retry-After"],
            ),
            Middleware(ErrorMiddleware),
            Middleware(ProxyHintMiddleware),
            Middleware(BodyLimitMiddleware),
            Middleware(
                OriginCheckMiddleware,
                origins=settings.cors_origins,
                scheme=scheme,
                accepts_tokens=settings.access_tokens_enabled,
            ),
        ],
        telemetry=telemetry_config(enabled=settings.telemetry_enabled),
    )
    app.state = AppState.from_settings(settings)  # type: ignore[assignment]  # any object works
    add_health(app)
    app.include_router(v1.router)
    # Last, because FastAPI tries the routes in order, and these are the least used.
    app.include_router(admin.router, prefix=v1.router.prefix)
    describe(app)
    if settings.docs_are_on:
        add_docs(app)
    return app


def __getattr__(name: str) -> FastAPI:
    """Create `app` on first access, so that importing this module needs no environment."""
    if name == "app":
        application = create_app(load_or_exit())
        globals()["app"] = application  # later accesses return the same one
        return application
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
