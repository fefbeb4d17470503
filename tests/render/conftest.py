"""Renders that several tests look at."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.variants import Answers, answers


@pytest.fixture(scope="session")
def rendered_once(rendered: Callable[[Answers], Path]) -> Callable[[Mapping[str, str]], Path]:
    """Give the function that gives the render of a row, which is not to be changed."""
    renders: dict[tuple[str, ...], Path] = {}

    def render_once(row: Mapping[str, str]) -> Path:
        key = tuple(row.values())
        if key not in renders:
            renders[key] = rendered(answers(row))
        return renders[key]

    return render_once
