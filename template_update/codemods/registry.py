"""The names that releases of the template renamed."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.version import Version

REGISTRY: Final = Path(__file__).with_name("renames.toml")
SETTINGS_CLASS: Final = "app.core.settings.Settings"
PARAMETER: Final = re.compile(r"(?P<owner>[\w.]+)\((?P<name>\w+)\)")


@dataclass(frozen=True)
class Renames:
    """Old names and their new names.

    names: dotted names of modules, and of what modules and classes define, such as
    `app.models.user.User.email`. parameters: the parameters of each function or class, by its
    dotted name. settings: environment variables. files: paths in the backend.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, table: Mapping[str, Mapping[str, str]]) -> "Renames":
        """Return the renames in a version's table of the registry.

        The key of a parameter is written as `app.core.tokens.decode(even_expired)`. Each renamed
        setting also renames an attribute of `Settings`.
        """
        names: dict[str, str] = {}
        parameters: dict[str, dict[str, str]] = {}
        for old, new in table.get("names", {}).items():
            if match := PARAMETER.fullmatch(old):
                parameters.setdefault(match["owner"], {})[match["name"]] = new
            else:
                names[old] = new
        settings = table.get("settings", {})
        for old, new in settings.items():
            names[f"{SETTINGS_CLASS}.{old.lower()}"] = f"{SETTINGS_CLASS}.{new.lower()}"
        return cls(names, parameters, settings, table.get("files", {}))

    def in_package(self, package: str) -> "Renames":
        """Return the same renames for a project whose package is not called `app`."""

        def rename(name: str) -> str:
            return re.sub(r"^app\b", package, name)

        return Renames(
            {rename(old): rename(new) for old, new in self.names.items()},
            {rename(owner): names for owner, names in self.parameters.items()},
            self.settings,
            self.files,
        )

    def following(self, moved: Mapping[str, str]) -> "Renames":
        """Return the same renames for a project that has moved modules.

        moved: the modules' names in the project, by their old names. Such a module keeps its place
        in the project, even if these renames move it.
        """
        targets = self.modules_after(moved)
        names = {
            _in_module(old, moved): _in_module(new, targets) for old, new in self.names.items()
        }
        return Renames(
            {old: new for old, new in names.items() if old != new},
            {_in_module(owner, moved): names for owner, names in self.parameters.items()},
            self.settings,
            self.files,
        )

    def modules_after(self, moved: Mapping[str, str]) -> dict[str, str]:
        """Return the moved modules, by their names in the template after these renames."""
        return {self.names.get(old, old): new for old, new in moved.items()}

    def descriptions(self) -> list[str]:
        """Return one line for each renamed name."""
        lines = [f"`{old}` is now `{new}`" for old, new in self.names.items()]
        for owner, names in self.parameters.items():
            lines += [f"`{old}` of `{owner}` is now `{new}`" for old, new in names.items()]
        lines += [f"`{old}` is now `{new}`" for old, new in self.settings.items()]
        lines += [f"`{old}` is now `{new}`" for old, new in self.files.items()]
        return lines


def _in_module(name: str, modules: Mapping[str, str]) -> str:
    """Return a dotted name with its module replaced, if `modules` contains that module."""
    for module, successor in modules.items():
        if name == module or name.startswith(f"{module}."):
            return successor + name.removeprefix(module)
    return name


def load(file: Path = REGISTRY) -> dict[str, Renames]:
    """Return the registry: the renames of each version."""
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {version: Renames.read(table) for version, table in tables.items()}


def between(before: str, after: str, file: Path = REGISTRY) -> Iterator[Renames]:
    """Yield the renames of the versions after one and up to another, the oldest first."""
    found = load(file)
    for version in sorted(found, key=Version):
        if Version(before) < Version(version) <= Version(after):
            yield found[version]
