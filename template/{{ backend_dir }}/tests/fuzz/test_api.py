"""Fuzzing: requests that are generated from the OpenAPI document, sent to a `serve` process.

No request causes a 5xx, and all responses have a status and a body that the document describes.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from app.core.emails import normalize_email
from app.core.security import PasswordHasher
from app.core.settings import ExplicitSettings
from app.db.session import Database
from app.main import create_app
from app.services.users import create_user
from tests.conftest import PASSWORD, SECRET
from tests.processes import serving

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

EXAMPLES = 20
# The requests of some endpoints are large, or hard to generate.
SUPPRESSED = [
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    HealthCheck.large_base_example,
    HealthCheck.too_slow,
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="session")
def url(test_database: str) -> Iterator[str]:
    """Return the URL of a `serve` process with a user, on which anyone can sign up.

    It runs no jobs, so it never connects to the SMTP server.
    """
    asyncio.run(add_ada(test_database))
    with serving(
        test_database,
        LOGIN_THROTTLE_ENABLED="false",
        SIGNUP_MODE="open",
        ACCESS_TOKENS_ENABLED="true",
        SMTP_URL="smtp://localhost:1025",
        MAIL_FROM="no-reply@example.com",
        JOBS_IN_SERVER="false",
    ) as url:
        yield url


async def add_ada(test_database: str) -> None:
    """Create the user who signs in."""
    database = Database.from_settings(
        ExplicitSettings(environment="test", database_url=test_database, jwt_secret=SECRET)
    )
    hasher = PasswordHasher(4)
    async with database.sessions() as db, db.begin():
        email = normalize_email("fuzz@example.com")
        await create_user(db, email, await hasher.hash(PASSWORD))
    hasher.close()
    await database.close()


@pytest.fixture(scope="session")
def schema(url: str) -> OpenApiSchema:
    """Return the OpenAPI document of that process."""
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


def operations() -> list[tuple[str, str]]:
    """Return the method and path of every endpoint, except for streams, which do not end."""
    app = create_app(
        ExplicitSettings(database_url="postgresql://localhost/none", jwt_secret=SECRET)
    )
    return [
        (method, path)
        for path, item in app.openapi()["paths"].items()
        for method, operation in item.items()
        if "text/event-stream" not in operation["responses"].get("200", {}).get("content", {})
    ]


@pytest.mark.parametrize("signed_in", [False, True], ids=["signed out", "signed in"])
@pytest.mark.parametrize(("method", "path"), operations())
def test_every_response_is_documented(
    schema: OpenApiSchema, url: str, method: str, path: str, signed_in: bool
) -> None:
    cookies = sign_in(url) if signed_in else {}

    @given(case=schema[path][method].as_strategy())
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=SUPPRESSED)
    def fuzz(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=CHECKS, cookies=cookies)

    fuzz()


def sign_in(url: str) -> dict[str, str]:
    """Return the cookies of a new session."""
    form = {"username": "fuzz@example.com", "password": PASSWORD}
    return dict(httpx.post(f"{url}/api/v1/auth/login", data=form).cookies)
