"""The files that a platform reads: its own keys, and what they have in common."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.variants import variants

DOCUMENTED = yaml.safe_load(
    Path(__file__).with_name("platform_keys.yml").read_text(encoding="utf-8")
)
TARGETS = (*DOCUMENTED, "compose.production.yml")
READERS: Mapping[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
}


@pytest.fixture(scope="module")
def projects(rendered_once: Callable[[Mapping[str, str]], Path]) -> list[Path]:
    """Return the render of every variant."""
    return [rendered_once(row) for row in variants().values()]


def read(file: Path) -> Any:
    """Return what a file says."""
    return READERS[file.suffix](file.read_text(encoding="utf-8"))


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Return each value below one, with the keys that lead to it; items of a list are all one."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for item in value:
            yield from leaves(item, f"{path}[]")
    else:
        yield path, value


@pytest.mark.parametrize("pattern", DOCUMENTED)
def test_keys_are_those_that_the_platform_documents(projects: list[Path], pattern: str) -> None:
    keys = DOCUMENTED[pattern]["keys"]
    found = [leaf for it in projects for file in it.rglob(pattern) for leaf in leaves(read(file))]
    assert {(path, type(value).__name__) for path, value in found} == set(keys.items())


def test_each_target_migrates_and_purges(projects: list[Path]) -> None:
    for project in projects:
        files = [file for name in (*TARGETS, "docs/deploy.md") for file in project.rglob(name)]
        said = " ".join(file.read_text(encoding="utf-8").replace(",", "") for file in files)
        for command in ("serve", "migrate", "purge"):
            # Compose serves by the image's own command.
            assert f"-m app {command}" in said or command == "serve", project


def test_nobody_believes_every_proxy(projects: list[Path]) -> None:
    for project in projects:
        for file in (it for name in TARGETS for it in project.rglob(name)):
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"FORWARDED_ALLOW_IPS\W+(value\W+)?(\*|0\.0\.0\.0|::/0)", text)
