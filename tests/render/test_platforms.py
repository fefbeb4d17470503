"""The configuration files of the platforms: their keys, and their common properties."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.variants import variants

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
    """Return the rendered projects of all variants."""
    return [rendered_once(row) for row in variants().values()]


def read(file: Path) -> Any:
    """Return the parsed content of a file."""
    return READERS[file.suffix](file.read_text(encoding="utf-8"))


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield each nested value with the path of its keys. All items of a list have one path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for item in value:
            yield from leaves(item, f"{path}[]")
    else:
        yield path, value


@pytest.mark.parametrize("pattern", DOCUMENTED)
def test_platform_files_use_exactly_the_documented_keys(projects: list[Path], pattern: str) -> None:
    keys = DOCUMENTED[pattern]["keys"]
    found = [leaf for it in projects for file in it.rglob(pattern) for leaf in leaves(read(file))]
    assert {(path, type(value).__name__) for path, value in found} == set(keys.items())


def test_each_target_migrates_and_can_run_a_worker(projects: list[Path]) -> None:
    for project in projects:
        files = [file for name in (*TARGETS, "docs/deploy.md") for file in project.rglob(name)]
        text = " ".join(file.read_text(encoding="utf-8").replace(",", "") for file in files)
        for command in ("serve", "migrate", "worker"):
            # Compose uses the image's own command to serve.
            assert f"-m app {command}" in text or command == "serve", project


def test_no_platform_file_trusts_every_proxy(projects: list[Path]) -> None:
    for project in projects:
        for file in (it for name in TARGETS for it in project.rglob(name)):
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"FORWARDED_ALLOW_IPS\W+(value\W+)?(\*|0\.0\.0\.0|::/0)", text)
