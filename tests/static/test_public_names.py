"""No release removes a public name without an announcement.

Each removed name and each changed parameter is in the registry of renames, or in backticks under
*Upgrading* in the changelog.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import griffe
import pytest
from copier import Settings, run_copy

from scripts.check_template import ROOT
from template_update.codemods.registry import Renames, between
from template_update.git import Repository
from template_update.releases import Release, releases, upgrading, version_in
from tests.support.rendering import copy_work_tree
from tests.update.history import NEXT

WORK_TREE: Final = "the work tree"
RELEASES: Final = releases(ROOT)
# Only FastAPI calls the functions of endpoints.
ENDPOINTS: Final = "app.api.v1."


def package(folder: Path, release: Release | None) -> griffe.Module:
    """Return the package `app` of a release, or of the work tree."""
    if release:
        template = str(folder / "template")
        Repository(ROOT).git("clone", "--quiet", "--no-checkout", str(ROOT), template)
    else:
        copy_work_tree(folder / "template")
    # Without git, Copier renders the files that exist.
    run_copy(
        str(folder / "template"),
        folder / "project",
        vcs_ref=release.commit if release else None,
        settings=Settings(),
        defaults=True,
        quiet=True,
    )
    loaded = griffe.load("app", search_paths=[folder / "project"], allow_inspection=False)
    assert isinstance(loaded, griffe.Module)
    return loaded


def unannounced(
    old: griffe.Module, new: griffe.Module, text: str, renames: Iterable[Renames]
) -> Iterator[str]:
    """Yield the breaking changes that neither the registry nor an *Upgrading* text names."""
    quoted = " ".join(re.findall(r"`([^`]+)`", text))
    named = set(re.findall(r"\w+", quoted))
    registered = {name for it in renames for name in (*it.names, *it.parameters)}
    for breakage in griffe.find_breaking_changes(old, new):
        path = breakage.obj.path
        is_parameter = breakage.kind.name.startswith("PARAMETER_")
        if path.startswith(ENDPOINTS) and is_parameter:
            continue
        name = breakage.obj.name if breakage.obj.name != "__init__" else path.split(".")[-2]
        if name == "log":  # each module has its own logger
            continue
        if path.removesuffix(".__init__") not in registered and name not in named:
            yield f"{path}: {breakage.kind.value}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(old, new, id=new.version if new else WORK_TREE)
        for old, new in zip(RELEASES, [*RELEASES[1:], None], strict=True)
    ],
)
def test_changed_name_is_announced(tmp_path: Path, old: Release, new: Release | None) -> None:
    version = new.version if new else version_in((ROOT / "pyproject.toml").read_text("utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    is_released = any(release.version == version for release in RELEASES)
    section = version if new or not is_released else "Unreleased"
    before, after = tmp_path / "before", tmp_path / "after"
    # The renames of the work tree belong to the next version, whatever its number.
    renames = between(old.version, new.version if new else NEXT.removeprefix("v"))
    found = unannounced(
        package(before, old), package(after, new), upgrading(changelog, section), renames
    )
    assert list(found) == []


def test_unannounced_name_is_found(tmp_path: Path) -> None:
    codes = {"old": "def load(key): ...\nLIMIT = 1\n", "new": "def load(*, name): ...\n"}
    for version, code in codes.items():
        (tmp_path / version / "app").mkdir(parents=True)
        (tmp_path / version / "app/__init__.py").write_text(code)
    old, new = (
        griffe.load("app", search_paths=[tmp_path / version], allow_inspection=False)
        for version in ("old", "new")
    )
    assert isinstance(old, griffe.Module)
    assert isinstance(new, griffe.Module)
    found = list(unannounced(old, new, "", []))
    assert "app.LIMIT: Public object was removed" in found
    assert any(it.startswith("app.load: ") for it in found)
    assert list(unannounced(old, new, "`load(name=…)`, and `LIMIT` is gone.", [])) == []
