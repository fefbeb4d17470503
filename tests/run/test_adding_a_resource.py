"""The pages that show how to extend a project: followed step by step, they end with all green."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hooks.projects import project_environment
from tests.commands import run
from tests.run.client import Browser
from tests.run.servers import Server, free_port, started
from tests.variants import Answers

RELOAD_SECONDS = 30
# What a page adds, and what proves it against the database; the rest of the suite runs elsewhere.
QUICK = (
    "--ignore=tests/fuzz -m 'not slow' -k 'projects or passages or migrations or docs' "
    "--no-cov -W 'ignore:Coverage disabled'"
)
# A block of code, and the line above it that says where the code goes.
STEP = re.compile(
    r"(?:^`(?P<path>[^`\n]+)`, (?P<how>a new file|at the end|changed|its functions)[^\n]*:\n\n)?"
    r"^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def project(installed: Callable[[Answers], Path]) -> Path:
    """Give the defaults, installed, to be changed."""
    return installed({})


@pytest.fixture
def environment() -> dict[str, str]:
    return project_environment(
        PORT=str(free_port()), PYTEST_ADDOPTS=QUICK, PYTEST_XDIST_AUTO_NUM_WORKERS="0"
    )


@pytest.fixture
def server(project: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """Give `make dev`, which runs beside everything else."""
    with started(["make", "dev"], project, environment, tmp_path / "log") as server:
        server.wait_until_ready()
        yield server


def follow(page: str, project: Path, environment: dict[str, str]) -> None:
    """Do what a page says, but for `make dev`, which runs already."""
    text = (project / page).read_text(encoding="utf-8")
    steps = list(STEP.finditer(text))
    assert len(steps) == text.count("```") / 2
    for step in steps:
        if step["language"] == "sh":
            for command in step["text"].splitlines():
                if command != "make dev":
                    run(["sh", "-c", command], project, environment)
        elif step["how"]:
            (path,) = list(project.glob(step["path"])) or [project / step["path"]]
            write(path, step["how"], step["text"])
        else:
            assert step["language"] == "sql", step[0]  # for a database elsewhere


def write(path: Path, how: str, text: str) -> None:
    """Write a block of a page into its file."""
    if how == "a new file":
        assert not path.exists()
        path.write_text(text, encoding="utf-8")
        return
    content = path.read_text(encoding="utf-8")
    if how == "at the end":
        content += text
    elif how == "its functions":
        content = content[: content.index("def upgrade")] + text
    else:
        for hunk in text.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            assert content.count(before) == 1, f"{path} has changed, and the page has not"
            after = "".join(line[1:] for line in lines if line[0] in " +")
            content = content.replace(before, after)
    path.write_text(content, encoding="utf-8")


def test_adding_a_resource_ends_green(
    project: Path, environment: dict[str, str], server: Server
) -> None:
    follow("docs/adding-a-resource.md", project, environment)

    deadline = time.monotonic() + RELOAD_SECONDS
    while "/api/v1/projects" not in paths(server):
        assert time.monotonic() < deadline, server.output()
        time.sleep(0.2)
    assert Browser(server.port).get("/api/v1/projects").status == 401
    assert Browser(server.port).get("/health/ready").status == 200


@pytest.mark.usefixtures("server")
def test_enabling_pgvector_ends_green(project: Path, environment: dict[str, str]) -> None:
    follow("docs/pgvector.md", project, environment)


def paths(server: Server) -> list[str]:
    """Give the paths of the API; none while the server reloads."""
    try:
        return list(Browser(server.port).get("/openapi.json").body["paths"])
    except OSError:
        return []
