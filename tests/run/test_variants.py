"""Variants, installed and run as their README describes, with only one package manager."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.projects import find_python, project_environment, python_of
from tests.support.commands import commit, run
from tests.support.installing import POETRY_INDEX, install_pipx, install_poetry
from tests.support.rendering import backend, files
from tests.support.servers import free_port, started
from tests.support.tools import give_up
from tests.support.variants import Answers, answers, columns, variants_to_run

LOCKS = {"pip": "requirements.lock", "poetry": "poetry.lock", "uv": "uv.lock"}
# Traces of each manager. The word pip alone is none: Dependabot uses it for Poetry, and the image
# installs Poetry with pip.
TRACES = {
    "uv": re.compile(r"\buvx?\b|UV_"),
    "poetry": re.compile(r"poetry", re.IGNORECASE),
    "pip": re.compile(r"requirements(-dev)?\.(txt|lock)|\bpip (freeze|install -r)"),
}
VERSIONS = """
from importlib.metadata import distributions
print(*sorted(f"{d.name} {d.version}" for d in distributions()), sep="\\n")
"""
PASSWORD = "a passphrase for tests"
*_, BEFORE_NEWEST, NEWEST = columns()["python_version"]
# A block in a list is indented.
SHELL_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# Without the slow tests, which take minutes for each variant. tests/real runs them and checks the
# coverage, which includes them.
GATE = {
    "PYTEST_ADDOPTS": "-m 'not slow' --cov-fail-under=0",
    "PYTEST_XDIST_AUTO_NUM_WORKERS": "2",
}


@dataclass(frozen=True)
class Variant:
    """A rendered row of the table, and the environment of its commands.

    repository: the whole project. project: the backend's folder.
    """

    row: Mapping[str, str]
    repository: Path
    project: Path
    environment: dict[str, str]

    def run(self, command: str, text: str | None = None, folder: Path | None = None) -> str:
        """Run a shell command, by default in the backend's folder, and return its output."""
        return run(["sh", "-ec", command], folder or self.project, self.environment, text=text)

    @property
    def lock(self) -> Path:
        """The lock file that the package manager writes."""
        return self.project / LOCKS[self.row["package_manager"]]


@pytest.fixture(params=variants_to_run().values(), ids=list(variants_to_run()))
def variant(
    request: pytest.FixtureRequest, rendered: Callable[[Answers], Path], tmp_path: Path
) -> Variant:
    """Return a variant with its own Python."""
    row: Mapping[str, str] = request.param
    python = find_python(row["python_version"])
    if python is None and row["python_version"] == NEWEST and not os.environ.get("GITHUB_ACTIONS"):
        # All other answers of the row are tested. The next test reports the missing Python.
        row = {**row, "python_version": BEFORE_NEWEST}
        python = find_python(BEFORE_NEWEST)
    if python is None:
        give_up(f"there is no Python {row['python_version']} here, and none to download")
    repository = rendered(answers(row))
    environment = environment_with(row["package_manager"], python, tmp_path)
    return Variant(row, repository, backend(repository), environment)


def test_newest_python_is_available() -> None:
    if find_python(NEWEST) is not None:
        return
    # Debian does not have the newest Python, and CI outside GitHub may be unable to download it.
    # Our workflow installs all versions and fails if one is missing, so that the row runs with its
    # own Python before each release.
    missing = f"there is no Python {NEWEST} here, and none to download; {BEFORE_NEWEST} ran instead"
    if os.environ.get("GITHUB_ACTIONS"):
        give_up(missing)
    pytest.skip(missing)


def test_readme_commands_work_and_the_checks_pass(variant: Variant, tmp_path: Path) -> None:
    if variant.repository != variant.project:
        follow(variant, variant.repository, first_pages(variant.repository), tmp_path)
    readme = variant.project / "README.md"
    commands = [*first_pages(variant.project), *shell_lines(variant.project / "docs/developing.md")]
    follow(variant, variant.project, commands, tmp_path)
    assert {"make install", "make dev", "make migrate", "make install check"} <= set(commands)
    for page in (readme, variant.project / "docs/developing.md"):
        check_commands(variant, page.read_text(encoding="utf-8"))
    check_locks(variant)
    check_image(variant, tmp_path / "image")


def first_pages(folder: Path) -> list[str]:
    """Return the commands of the README, and then those that only `AGENTS.md` shows."""
    readme, agents = (shell_lines(folder / name) for name in ("README.md", "AGENTS.md"))
    assert agents, folder
    return [*readme, *(command for command in agents if command not in readme)]


def shell_lines(page: Path) -> list[str]:
    """Return the shell commands that a page shows."""
    blocks = SHELL_BLOCK.findall(page.read_text(encoding="utf-8"))
    return [line.strip() for block in blocks for line in block.splitlines()]


def follow(variant: Variant, folder: Path, commands: list[str], tmp_path: Path) -> None:
    """Run the commands of a page in order. `make dev` keeps running during the others."""
    with ExitStack() as stack:
        for command in commands:
            if command == "make dev":
                log = tmp_path / "dev.log"
                server = stack.enter_context(
                    started(["make", "dev"], folder, variant.environment, log)
                )
                server.wait_until_ready()
            elif command.startswith("docker "):
                pass  # an alternative to the embedded Postgres; a schema checks its file
            elif "create-user" in command:
                # The backend's README, which comes later, creates the same user as the root's.
                name = "you" if folder == variant.project else "first"
                output = variant.run(from_stdin(command, name), PASSWORD, folder)
                assert f"Created {name}@example.com." in output
            elif command.endswith("-m app shell"):
                output = variant.run(command, "(await db.scalars(select(User))).all()\n")
                assert "User object" in output
            elif command.endswith("-m app reset"):
                variant.run(f"{command} --yes")
                psql = f"{command.removesuffix('reset')}psql"
                assert "(0 rows)" in variant.run(f"{psql} --command 'TABLE users'")
            elif command.endswith("sample.sql"):
                (folder / "sample.sql").write_text("DELETE FROM attempt_counts;\n")
                assert "DELETE" in variant.run(command)
            elif "set-password" in command:
                # The check of the migrations emptied the database.
                create = command.replace("set-password", "create-user")
                variant.run(from_stdin(create), PASSWORD)
                assert "Changed the password" in variant.run(from_stdin(command), PASSWORD)
            else:
                if command.startswith("make migration"):
                    # This comes first, because the command would add a missing migration.
                    check_migrations(variant)
                elif command == "make template-update ARGS=--preview":
                    finish_dependency(variant)
                    commit(variant.project, "Our work")
                variant.run(command, folder=folder)


def from_stdin(command: str, name: str = "you") -> str:
    """Return a command that reads its password from standard input instead of a terminal."""
    return command.replace("you@example.com", f"{name}@example.com --password-stdin")


def finish_dependency(variant: Variant) -> None:
    """Do the steps for a new dependency that the README describes in words."""
    run([python_of(variant.project), "-c", "import bs4"], variant.project)
    if variant.row["package_manager"] == "pip":
        pyproject = variant.project / "pyproject.toml"
        text = pyproject.read_text(encoding="utf-8")
        pyproject.write_text(
            text.replace(
                "dependencies = [\n", 'dependencies = [\n    "beautifulsoup4~=4.13",\n', 1
            ),
            encoding="utf-8",
        )


def check_commands(variant: Variant, readme: str) -> None:
    """Check that all commands of the application in the README exist."""
    known = run([python_of(variant.project), "-m", "app", "--help"], variant.project)
    for command in set(re.findall(r"-m app ([a-z-]+)", readme)):
        assert re.search(rf"^ +{command}\b", known, re.MULTILINE), command


def check_migrations(variant: Variant) -> None:
    """Check that models and migrations match, and that all migrations can be reverted."""
    for command in ("check", "downgrade base", "upgrade head", "check"):
        run([python_of(variant.project), "-m", "alembic", *command.split()], variant.project)


def check_locks(variant: Variant) -> None:
    """Check that a new installation from the lock file is identical, and that the file is kept."""
    project, lock = variant.project, variant.lock
    text = lock.read_text(encoding="utf-8")
    assert "fastapi" in text
    assert "file:" not in text
    assert [name for name in LOCKS.values() if (project / name).exists()] == [lock.name]
    versions = run([python_of(project), "-c", VERSIONS], project)
    variant.run("make lock")
    shutil.rmtree(project / ".venv")
    variant.run("make install")
    assert run([python_of(project), "-c", VERSIONS], project) == versions
    assert lock.read_text(encoding="utf-8") == text


def check_image(variant: Variant, image: Path) -> None:
    """Run the installation steps of the Dockerfile in a folder, and run the result."""
    dockerfile = (variant.project / "Dockerfile").read_text(encoding="utf-8")
    steps = dockerfile.partition("WORKDIR /app\n")[2].partition("\nFROM ")[0]
    (copied,) = re.findall(r"^COPY (.*) \./$", steps, re.MULTILINE)
    check_lock, install = re.findall(r"^RUN ((?:.*\\\n)*.*)$", steps, re.MULTILINE)
    image.mkdir()
    output = run(["sh", "-c", check_lock], image, variant.environment, exit_code=1)
    assert output == f"There is no {variant.lock.name}: run 'make lock' and commit it.\n"

    for pattern in copied.split():
        (found,) = variant.project.glob(pattern)
        shutil.copy(found, image)
    run(["sh", "-c", f"{check_lock}\n{install}"], image, variant.environment)
    shutil.copytree(variant.project / "app", image / "app")
    document = run([python_of(image), "-m", "app", "openapi"], image, variant.environment)
    assert json.loads(document)["openapi"]
    assert "pytest" not in run([python_of(image), "-c", VERSIONS], image, variant.environment)


def environment_with(manager: str, python: Path, folder: Path) -> dict[str, str]:
    """Return an environment with one manager. The commands of the others exist, but fail."""
    tools = folder / "tools"
    tools.mkdir()
    for other in {"uv", "uvx", "poetry"} - {manager, f"{manager}x"}:
        (tools / other).write_text("#!/bin/sh\nexit 97\n")
        (tools / other).chmod(0o755)
    if manager == "poetry":
        (tools / "poetry").symlink_to(install_poetry(folder / "poetry", python))
    if manager != "uv":
        (tools / "pipx").symlink_to(install_pipx(folder / "pipx", python))
    environment = project_environment(
        python,
        PORT=str(free_port()),
        # Otherwise two variants would build the same cached environment at the same time.
        PIPX_HOME=str(folder / "pipx home"),
        **POETRY_INDEX,
        **GATE,
    )
    environment["PATH"] = f"{tools}:{environment['PATH']}"
    return environment


def test_project_contains_no_traces_of_other_package_managers(
    rendered: Callable[[Answers], Path],
) -> None:
    for manager in TRACES:
        for name, content in files(rendered({"package_manager": manager})).items():
            for other in TRACES.keys() - {manager}:
                assert not TRACES[other].search(f"{name}\n{content.decode()}"), name


def test_make_migration_requires_a_message(rendered: Callable[[Answers], Path]) -> None:
    project = rendered({})
    output = run(["make", "migration"], project, project_environment(), exit_code=2)
    assert 'make migration m="add projects"' in output


def test_make_install_with_pip_reports_the_required_python(
    rendered: Callable[[Answers], Path], tmp_path: Path
) -> None:
    project = rendered({"package_manager": "pip", "python_version": "3.11"})
    # This Python, but with the version number of one that is too old.
    old = tmp_path / "python3"
    pretend = "import sys; sys.version_info = (3, 10, 9); exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    output = run(["make", "install", f"PYTHON3={old}"], project, project_environment(), exit_code=2)
    assert "Python 3.11 or newer is needed, and this is 3.10" in output
    assert not (project / ".venv").exists()
