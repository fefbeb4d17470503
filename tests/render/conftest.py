"""Rendered projects that several tests read."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.rendering import release
from tests.support.variants import Answers, answers, variants

VARIANTS = variants()


@pytest.fixture(scope="session")
def rendered_once(rendered: Callable[[Answers], Path]) -> Callable[[Mapping[str, str]], Path]:
    """Return a function that returns the rendered project of a row, which tests must not change."""

    def render_once(row: Mapping[str, str]) -> Path:
        # The workers share the folder. The first one that has rendered it moves it there.
        folder = release().parent / "renders" / "-".join(row.values())
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            with suppress(OSError):
                rendered(answers(row)).rename(folder)
        return folder

    return render_once


@pytest.fixture(params=VARIANTS)
def row(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Return a row of the table of variants."""
    return VARIANTS[request.param]


@pytest.fixture
def project(row: Mapping[str, str], rendered_once: Callable[[Mapping[str, str]], Path]) -> Path:
    """Return the rendered project of the row, which tests must not change."""
    return rendered_once(row)
