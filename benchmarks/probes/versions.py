"""Print the versions of Python and of the libraries."""

import json
import platform
from importlib.metadata import version

NAMES = (
    "fastapi",
    "starlette",
    "sqlalchemy",
    "asyncpg",
    "uvicorn",
    "uvloop",
    "httptools",
    "bcrypt",
)
print(json.dumps({"Python": platform.python_version(), **{it: version(it) for it in NAMES}}))
