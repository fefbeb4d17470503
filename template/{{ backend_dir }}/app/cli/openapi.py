"""`openapi`: the document for generating clients."""

import json
import secrets

from pydantic import SecretStr

from app.core.settings import ExplicitSettings
from app.main import create_app


def openapi() -> None:
    """Print the OpenAPI document. This needs no environment variables and no database."""
    settings = ExplicitSettings(
        environment="production",
        database_url=SecretStr("postgresql://localhost/openapi"),
        jwt_secret=SecretStr(secrets.token_urlsafe(48)),
    )
    print(json.dumps(create_app(settings).openapi(), indent=2, ensure_ascii=False))
