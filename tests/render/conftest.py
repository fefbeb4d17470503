"""Renders that several tests look at."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.rendering import release
from tests.variants import Answers, answers


@pytest.fixture(scope="session")
def rendered_once(rendered: Callable[[Answers], Path]) -> Callable[[Mapping[str, str]], Path]:
    """Return the function that gives the render of a row, which is not to be changed."""

    def render_once(row: Mapping[str, str]) -> Path:
        # Shared by the workers: the first one to be done with it puts it there.
        folder = release().parent / "renders" / "-".join(row.values())
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            with suppress(OSError):
                rendered(answers(row)).rename(folder)
        return folder

    return render_once
