"""The project's own formatter, and the files that it does not format."""

from pathlib import Path

import pytest

from template_update.errors import UpdateError
from template_update.formatting import Formatter
from template_update.git import Repository
from template_update.update import format_as_before
from tests.support.commands import commit, git

UNFORMATTED = "x  =  [ 1,2 ]\n"
FORMATTED = "x = [1, 2]\n"
SORTED = "import a\nimport b\n\n"
UNSORTED = "import b\nimport a\n\n"
LONG = f"x = [{', '.join(['1000'] * 20)}]\n"


@pytest.fixture
def backend(tmp_path: Path) -> Path:
    """Return the backend's folder in a repository. The folder above it has settings too."""
    (tmp_path / "ruff.toml").write_text("line-length = 40\n")
    root = tmp_path / "repository"
    backend = root / "backend"
    backend.mkdir(parents=True)
    git(root, "init", "--quiet")
    (backend / "pyproject.toml").write_text("[project]\nname = 'shop'\n")
    return backend


def formatted(backend: Path, text: str, folder: Path | None = None) -> str:
    """Return a text, formatted like the file `x.py` in a folder, by default the backend."""
    file = (folder or backend) / "x.py"
    file.write_text(text)
    Formatter.of(backend).format(folder or backend, [file])
    return file.read_text()


@pytest.mark.parametrize("name", ["ruff.toml", ".ruff.toml", "pyproject.toml"])
def test_settings_of_a_parent_folder_apply(backend: Path, name: str) -> None:
    settings = "line-length = 200\n"
    if name == "pyproject.toml":
        settings = f"[tool.ruff]\n{settings}"
    (backend.parent / name).write_text(settings)
    assert formatted(backend, LONG) == LONG


def test_pyproject_without_settings_and_outer_folders_are_ignored(
    backend: Path,
) -> None:
    assert Formatter.of(backend).ruff is None
    (backend.parent / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert Formatter.of(backend).ruff is None


def test_settings_of_the_nearest_folder_apply(backend: Path) -> None:
    (backend.parent / "ruff.toml").write_text("line-length = 200\n")
    (backend / "pyproject.toml").write_text("[tool.ruff]\nline-length = 80\n")
    assert formatted(backend, LONG) != LONG


def test_paths_in_the_settings_are_relative_to_their_folder(backend: Path, tmp_path: Path) -> None:
    (backend.parent / "ruff.toml").write_text("exclude = ['backend/x.py']\n")
    assert formatted(backend, UNFORMATTED) == UNFORMATTED
    render = tmp_path / "render/backend"
    render.mkdir(parents=True)
    assert formatted(backend, UNFORMATTED, render) == UNFORMATTED
    (backend.parent / "ruff.toml").write_text("extend-exclude = ['other/x.py']\n")
    assert formatted(backend, UNFORMATTED, render) == FORMATTED


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (
            'required-version = "==0.9.0"\n',
            "Required version `==0.9.0` does not match the running version",
        ),
        ('lint.select = ["NOPE"]\n', "Unknown rule selector `NOPE` in `select` from `ruff.toml`"),
    ],
)
def test_settings_that_ruff_cannot_use_are_reported_with_a_remedy(
    backend: Path, setting: str, reason: str
) -> None:
    (backend.parent / "ruff.toml").write_text(setting)
    with pytest.raises(UpdateError) as error:
        formatted(backend, FORMATTED)
    message = str(error.value)
    assert message.startswith(f"Ruff cannot use ruff.toml ({reason}")
    assert message.endswith(
        "): change or remove that setting for the update, commit that, and update again."
    )


def test_settings_that_black_cannot_use_are_reported(backend: Path) -> None:
    (backend / "pyproject.toml").write_text("[tool.black]\nline-length = 'x'\n")
    with pytest.raises(UpdateError, match=r"Black cannot use backend/pyproject\.toml \(Invalid"):
        formatted(backend, FORMATTED)


@pytest.mark.parametrize("settings", ["", "[tool.black]\n"], ids=["ruff", "black"])
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(FORMATTED, UNFORMATTED, FORMATTED, id="formatted"),
        pytest.param(UNFORMATTED, UNFORMATTED, UNFORMATTED, id="not-formatted"),
        pytest.param(
            SORTED + UNFORMATTED, UNSORTED + UNFORMATTED, SORTED + UNFORMATTED, id="only-sorted"
        ),
        pytest.param(
            UNSORTED + FORMATTED, UNSORTED + UNFORMATTED, UNSORTED + FORMATTED, id="only-formatted"
        ),
        pytest.param("x = (\n", "y = (\n", "y = (\n", id="does-not-parse"),
    ],
)
def test_file_is_formatted_as_far_as_it_was_before(
    backend: Path, settings: str, before: str, after: str, expected: str
) -> None:
    (backend / "pyproject.toml").write_text(settings)
    file, other = backend / "x.py", backend / "other.py"
    file.write_text(after)
    other.write_text(UNFORMATTED)
    Formatter.of(backend).format_as_before({file: before.encode(), other: UNFORMATTED.encode()})
    assert file.read_text() == expected
    assert other.read_text() == UNFORMATTED


def test_moved_file_is_formatted_as_it_was_at_its_old_place(backend: Path) -> None:
    root = backend.parent
    names = [f"NAME_{number}" for number in range(9)]
    for name, line in (("formatted", "{} = [1, 2]\n"), ("own", "{}  =  [ 1,2 ]\n")):
        (backend / f"{name}.py").write_text("".join(map(line.format, names)))
    commit(root, "Our files")
    files = []
    for name in ("formatted", "own"):
        file = backend / f"new_{name}.py"
        git(backend, "mv", f"{name}.py", file.name)
        file.write_text(file.read_text() + UNFORMATTED)
        files.append(file)
    git(root, "add", "--all")
    gone = backend / "formatted.py"
    format_as_before(Repository(root), Formatter.of(backend), [*files, gone])
    assert files[0].read_text().endswith(FORMATTED)
    assert files[1].read_text().endswith(UNFORMATTED)
    assert not gone.exists()


def test_project_folder_in_place_of_a_file_is_ignored(tmp_path: Path) -> None:
    project, old, new = (tmp_path / name for name in ("project", "old", "new"))
    for folder, text in ((old, UNFORMATTED), (new, LONG)):
        folder.mkdir()
        (folder / "README.md").write_text(text)
        (folder / "x.py").write_text(text)
    for name in ("README.md", "x.py"):
        (project / name).mkdir(parents=True)
    Formatter.of(project).format_like(project, old, new)
    assert (old / "x.py").read_text() == FORMATTED


def test_file_of_one_render_may_be_a_folder_of_the_other(tmp_path: Path) -> None:
    project, old, new = (tmp_path / name for name in ("project", "old", "new"))
    (new / "x.py").mkdir(parents=True)
    for folder in (project, old):
        folder.mkdir()
        (folder / "x.py").write_text(FORMATTED)
    Formatter.of(project).format_like(project, old, new)
    assert (new / "x.py").is_dir()
