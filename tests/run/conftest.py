"""An installed project with a database, for tests that run it without changes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.embedded import held_database
from tests.support.variants import Answers


@pytest.fixture(scope="module")
def project(installed: Callable[[Answers], Path]) -> Path:
    """Return an installed project with the default answers."""
    return installed({})


@pytest.fixture(scope="module")
def database_url(project: Path) -> Iterator[str]:
    """Return the URL of an empty database on the project's embedded Postgres."""
    with held_database(project) as url:
        yield url
