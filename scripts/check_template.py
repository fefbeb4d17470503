"""The template's own rules, checked without rendering: `python -m scripts.check_template`.

Each check yields the faults that it finds, one line for each fault.
"""

import ast
import json
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, Final

import yaml
from copier import Settings, run_copy

ROOT: Final = Path(__file__).parents[1]
TEMPLATE: Final = "template"
SUFFIX: Final = ".jinja"
ANSWERS_FILE: Final = "{{ _copier_conf.answers_file }}.jinja"
BACKEND: Final = "{{ backend_dir }}"

# Folders that tools create. Git ignores them, so Copier never renders them.
CACHES: Final = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"}

MAX_QUESTIONS: Final = 10
LINES_PER_BLOCK: Final = 100
# The only module of the application that may contain Jinja: answers are defaults of settings.
JINJA_IN_APP: Final = "app/core/settings.py.jinja"

# The settings of Copier that this template may use. _tasks and _jinja_extensions are missing on
# purpose: with them, Copier requires --trust for every copy and update.
SETTINGS: Final = {
    "_answers_file",
    "_envops",
    "_exclude",
    "_external_data",
    "_message_after_copy",
    "_message_after_update",
    "_migrations",
    "_min_copier_version",
    "_skip_if_exists",
    "_subdirectory",
}

# The beginning of a move's command, before its pairs of paths.
MOVE: Final = ["{{ _copier_python }}", "{{ _copier_conf.src_path }}/hooks/migrations/move.py"]

BLOCK: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
CONDITION: Final = re.compile(r"\{%.*?%\}")
# Forbidden in names on Windows: some characters, the names of devices, and a dot or space at the
# end.
NOT_PORTABLE: Final = re.compile(
    r'[<>:"|?*\\\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE
)

Check = Callable[[Path], Iterator[str]]

PARSERS: Final[Mapping[str, Callable[[str], object]]] = {
    ".json": json.loads,
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
}


def load_config(root: Path) -> dict[str, Any]:
    """Return the content of `copier.yml`. Raise `yaml.YAMLError` if it does not parse."""
    config = yaml.safe_load((root / "copier.yml").read_text(encoding="utf-8"))
    return dict(config or {})


def template_files(root: Path) -> list[PurePath]:
    """Return the paths of the template's files, relative to `template/`."""
    folder = root / TEMPLATE
    return sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and CACHES.isdisjoint(path.parts)
    )


def check_settings(root: Path) -> Iterator[str]:
    """Check that there are no settings that need trust, or that Copier does not know."""
    for name in load_config(root):
        if name.startswith("_") and name not in SETTINGS:
            yield (
                f"copier.yml: {name} is not a setting that this template may use "
                "(a question's name has no leading underscore)"
            )


def check_questions(root: Path) -> Iterator[str]:
    """Check that every question is complete, and that computed values come last."""
    questions = {name: value for name, value in load_config(root).items() if name[:1] != "_"}
    asked = 0
    computed: list[str] = []
    for name, question in questions.items():
        if not isinstance(question, dict):
            yield f"copier.yml: {name} needs a type, a help text and a default"
            continue
        keys = ["type", "default"]
        if question.get("when") is False:
            computed.append(name)
        else:
            asked += 1
            keys.append("help")
            if computed:
                yield f"copier.yml: {name} is asked after {computed[-1]}, which is computed"
        for key in keys:
            if key not in question:
                yield f"copier.yml: {name} has no {key}"
        if question.get("type", "str") != "str":
            yield f"copier.yml: {name} is no str; use a str with two choices for yes or no"
    if asked > MAX_QUESTIONS:
        yield f"copier.yml: {asked} questions, and people bear {MAX_QUESTIONS}"


def check_moves(root: Path) -> Iterator[str]:
    """Check that only major versions move files, because such an update needs trust."""
    names = {rendered_path(path) for path in template_files(root)}
    for entry in load_config(root).get("_migrations") or []:
        paths = entry.get("command", [])[len(MOVE) :]
        if set(entry) != {"version", "command"} or not paths or len(paths) % 2:
            yield "copier.yml: write each of _migrations like the example in the comment above them"
            continue
        version, command = entry["version"], entry["command"][: len(MOVE)]
        if not re.fullmatch(r"v[1-9]\d*\.0\.0", version):
            yield f"copier.yml: files move in {version}, which is no major version"
        if command != MOVE:
            yield f"copier.yml: files are moved by {' '.join(command)}, not by {' '.join(MOVE)}"
        for old, new in zip(paths[::2], paths[1::2], strict=True):
            if old in names:
                yield f"copier.yml: {old} moves, but the template still has it"
            if new not in names and new != old:
                yield f"copier.yml: {old} moves to {new}, which the template does not have"


def check_defaults(root: Path) -> Iterator[str]:
    """Check with Copier itself that every default is a valid answer."""
    with tempfile.TemporaryDirectory() as folder:
        # Copy no template files, so that Copier renders and clones nothing.
        (copy := Path(folder, "copy")).mkdir()
        (copy / TEMPLATE).mkdir()
        shutil.copy(root / "copier.yml", copy)
        try:
            run_copy(
                str(copy),
                Path(folder, "project"),
                defaults=True,
                pretend=True,
                quiet=True,
                settings=Settings(),  # not the developer's own
            )
        except Exception as error:  # any error of Copier
            yield f"copier.yml: {error}"


def check_answers_file(root: Path) -> Iterator[str]:
    """Check that the answers file is where Copier expects it; updates depend on it."""
    if not (root / TEMPLATE / ANSWERS_FILE).is_file():
        yield f"{TEMPLATE}/{ANSWERS_FILE} is missing: no project could be updated"


def check_paths(root: Path) -> Iterator[str]:
    """Check that all systems can check out the template, and that no path is rendered twice."""
    yield from path_faults(template_files(root))


def path_faults(paths: Iterable[PurePath]) -> Iterator[str]:
    """Yield the faults of paths that are relative to `template/`."""
    seen: dict[str, PurePath] = {}
    for path in paths:
        for part in path.parts:
            if NOT_PORTABLE.search(part):
                yield f"{TEMPLATE}/{path}: Windows can't have a file named {part}"
        rendered = str(path).lower().removesuffix(SUFFIX)
        if (twin := seen.setdefault(rendered, path)) != path:
            yield f"{TEMPLATE}/{path}: equals {twin} once rendered, where case does not count"


def check_jinja_budget(root: Path) -> Iterator[str]:
    """Check that Python files contain little Jinja, because Jinja prevents linting and typing."""
    lines = blocks = 0
    for path in template_files(root):
        if PurePath(rendered_path(path)).suffix != ".py":
            continue
        text = (root / TEMPLATE / path).read_text(encoding="utf-8", errors="replace")
        lines += text.count("\n")
        if path.suffix == SUFFIX:
            blocks += len(BLOCK.findall(text))
            inside = path.relative_to(BACKEND).as_posix() if BACKEND in path.parts else ""
            if inside.startswith("app/") and inside != JINJA_IN_APP:
                yield f"{TEMPLATE}/{path}: in app/, only {JINJA_IN_APP} may contain Jinja"
    if blocks * LINES_PER_BLOCK > lines:
        yield f"{TEMPLATE}: {blocks} Jinja blocks in {lines} lines of Python, over 1 in 100"


def check_files_parse(root: Path) -> Iterator[str]:
    """Check that every file without Jinja parses."""
    for path in template_files(root):
        parse = PARSERS.get(PurePath(rendered_path(path)).suffix)
        if parse is None or path.suffix == SUFFIX:
            continue
        try:
            parse((root / TEMPLATE / path).read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, yaml.YAMLError) as error:
            yield f"{TEMPLATE}/{path}: {' '.join(str(error).split())}"


def rendered_path(path: PurePath) -> str:
    """Return the rendered path of a file, without conditions; variables keep their names."""
    return CONDITION.sub("", path.as_posix()).removesuffix(SUFFIX)


def moved_files(root: Path) -> set[str]:
    """Return the old paths of moved files, and the paths of removed files."""
    moves = load_config(root).get("_migrations") or []
    return {old for entry in moves for old in entry["command"][len(MOVE) :: 2]}


CHECKS: Final[tuple[Check, ...]] = (
    check_settings,
    check_questions,
    check_moves,
    check_defaults,
    check_answers_file,
    check_paths,
    check_jinja_budget,
    check_files_parse,
)


def main(root: Path = ROOT) -> int:
    """Print every fault, and return 1 if there is any, or else 0."""
    faults = [fault for check in CHECKS for fault in check(root)]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
