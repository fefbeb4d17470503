"""The template's own rules, checked without rendering: `python -m hooks.check_template`.

Each check gives its faults, one line each.
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

# What tools leave behind; git ignores it, so that it is never rendered.
CACHES: Final = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"}

MAX_QUESTIONS: Final = 10
LINES_PER_BLOCK: Final = 100
# The one module of the application that may hold Jinja: answers are defaults of settings.
JINJA_IN_APP: Final = "app/core/settings.py.jinja"

# Copier's settings that this template may use. Left out on purpose: _tasks and _jinja_extensions
# make Copier ask for --trust at every copy and update.
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

# What runs a move, before its two paths.
MOVE: Final = ["{{ _copier_python }}", "{{ _copier_conf.src_path }}/hooks/migrations/move.py"]

BLOCK: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
CONDITION: Final = re.compile(r"\{%.*?%\}")
# Windows: the characters that no name may have, the names of devices, and no dot or space at the
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
    """Read `copier.yml`. Raise `yaml.YAMLError`."""
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
    """Refuse settings that Copier asks trust for, or does not know."""
    for name in load_config(root):
        if name.startswith("_") and name not in SETTINGS:
            yield (
                f"copier.yml: {name} is not a setting that this template may use "
                "(a question's name has no leading underscore)"
            )


def check_questions(root: Path) -> Iterator[str]:
    """Check that every question is whole, and that they stand in order."""
    questions = {name: value for name, value in load_config(root).items() if name[:1] != "_"}
    asked = 0
    computed: list[str] = []
    for name, question in questions.items():
        if not isinstance(question, dict):
            yield f"copier.yml: {name} needs a type, a help line and a default"
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
            yield f"copier.yml: {name} is no str; a yes or no is a str with two choices"
    if asked > MAX_QUESTIONS:
        yield f"copier.yml: {asked} questions, and people bear {MAX_QUESTIONS}"


def check_moves(root: Path) -> Iterator[str]:
    """Check that only a major version moves files: an update that crosses a move needs trust."""
    names = {rendered_path(path) for path in template_files(root)}
    for entry in load_config(root).get("_migrations") or []:
        paths = entry.get("command", [])[len(MOVE) :]
        if set(entry) != {"version", "command"} or not paths or len(paths) % 2:
            yield "copier.yml: write each of _migrations like the one in the comment above them"
            continue
        version, command = entry["version"], entry["command"][: len(MOVE)]
        if not re.fullmatch(r"v[1-9]\d*\.0\.0", version):
            yield f"copier.yml: files move in {version}, which is no major version"
        if command != MOVE:
            yield f"copier.yml: files are moved by {' '.join(command)}, not by {' '.join(MOVE)}"
        for old, new in zip(paths[::2], paths[1::2], strict=True):
            if old in names:
                yield f"copier.yml: {old} moves, and the template still has it"
            if new not in names and new != old:
                yield f"copier.yml: {old} moves to {new}, which the template does not have"


def check_defaults(root: Path) -> Iterator[str]:
    """Let Copier itself say whether every default is a valid answer."""
    with tempfile.TemporaryDirectory() as folder:
        # Without files: nothing is rendered, and nothing is cloned.
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
        except Exception as error:  # whatever Copier has to say
            yield f"copier.yml: {error}"


def check_answers_file(root: Path) -> Iterator[str]:
    """Check that the answers file stands where Copier looks: else nothing can ever be updated."""
    if not (root / TEMPLATE / ANSWERS_FILE).is_file():
        yield f"{TEMPLATE}/{ANSWERS_FILE} is missing: no project could be updated"


def check_paths(root: Path) -> Iterator[str]:
    """Check that the template can be checked out everywhere, and no file is rendered twice."""
    yield from path_faults(template_files(root))


def path_faults(paths: Iterable[PurePath]) -> Iterator[str]:
    """Return what is wrong with paths, relative to `template/`."""
    seen: dict[str, PurePath] = {}
    for path in paths:
        for part in path.parts:
            if NOT_PORTABLE.search(part):
                yield f"{TEMPLATE}/{path}: Windows can't have a file named {part}"
        rendered = str(path).lower().removesuffix(SUFFIX)
        if (twin := seen.setdefault(rendered, path)) != path:
            yield f"{TEMPLATE}/{path}: the same as {twin} once rendered, where case does not count"


def check_jinja_budget(root: Path) -> Iterator[str]:
    """Check that the Python is plain: what has Jinja in it can't be linted, typed or run."""
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
                yield f"{TEMPLATE}/{path}: under app/ only {JINJA_IN_APP} may hold Jinja"
    if blocks * LINES_PER_BLOCK > lines:
        yield f"{TEMPLATE}: {blocks} Jinja blocks in {lines} lines of Python, over 1 in 100"


def check_files_parse(root: Path) -> Iterator[str]:
    """Check that every file that is copied as it is parses."""
    for path in template_files(root):
        parse = PARSERS.get(PurePath(rendered_path(path)).suffix)
        if parse is None or path.suffix == SUFFIX:
            continue
        try:
            parse((root / TEMPLATE / path).read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, yaml.YAMLError) as error:
            yield f"{TEMPLATE}/{path}: {' '.join(str(error).split())}"


def rendered_path(path: PurePath) -> str:
    """Return a file's path as it comes out, whatever condition stands in it; answers stay names."""
    return CONDITION.sub("", path.as_posix()).removesuffix(SUFFIX)


def moved_files(root: Path) -> set[str]:
    """Return the paths from which files have moved, and those of removed files."""
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
    """Print every fault; gives 1 if there is any."""
    faults = [fault for check in CHECKS for fault in check(root)]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
