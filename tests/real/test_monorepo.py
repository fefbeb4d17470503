"""A monorepo: `make dev` starts backend and frontend, and `make client` connects their types."""

import os
import re
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from scripts.projects import project_environment, python_of
from tests.real.app import sees, sign_in
from tests.real.chromium import chromium
from tests.real.frontend import START_SECONDS, blocks, check_types
from tests.support.client import FORM
from tests.support.commands import run
from tests.support.production import EMAIL, LOGIN, ME, PASSWORD
from tests.support.rendering import backend
from tests.support.servers import STOP_SECONDS, Server, can_connect, free_port, started, wait_until
from tests.support.tools import PATH
from tests.support.variants import Answers

HINT = "There is no frontend/package.json yet, so this is the backend alone."
NO_FRONTEND = "There is no frontend/package.json. Create the frontend first: npm create vite@latest"
NO_NODE = "Install Node.js first, which contains npx"
STALE = "schema.ts does not match the API: run make client, and commit the file."
SCHEMA = "src/backend/schema.ts"


@pytest.fixture(scope="module")
def frontend_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def monorepo(installed: Callable[[Answers], Path], frontend_port: int) -> Path:
    """Return an installed monorepo without a frontend."""
    origin = f"http://localhost:{frontend_port}"
    return installed({"repo_layout": "monorepo", "frontend_origin": origin})


@pytest.fixture(scope="module")
def both(monorepo: Path, frontend: Path, frontend_port: int) -> Path:
    """Return the monorepo with the app of docs/frontend.md in frontend/, without its packages.

    `make client` writes its types.
    """
    folder = monorepo / "frontend"
    ignored = shutil.ignore_patterns("node_modules", "dist", Path(SCHEMA).name)
    shutil.copytree(frontend, folder, ignore=ignored)
    make(monorepo, "client")
    (config,) = [it for it in blocks(backend(monorepo), "ts") if "defineConfig" in it]
    assert "port: 5173" in config
    config = config.replace("port: 5173", f"port: {frontend_port}")
    (folder / "vite.config.ts").write_text(config, encoding="utf-8")
    return monorepo


def make(folder: Path, target: str, *, exit_code: int = 0, path: str | None = None) -> str:
    """Run a target of a Makefile and return its output. path: where it looks for programs."""
    program = shutil.which("make")
    assert program
    environment = project_environment(PATH=path or f"{project_environment()['PATH']}:{PATH}")
    return run([program, target], folder, environment, exit_code=exit_code)


def make_dev(project: Path, folder: Path) -> AbstractContextManager[Server]:
    """Run `make dev` like in a separate terminal."""
    environment = project_environment(PORT=str(free_port()))
    return started(["make", "dev"], project, environment, folder / "log", terminal=True)


def wait_until_both_serve(server: Server, frontend_port: int) -> None:
    serves = partial(can_connect, frontend_port, "localhost")
    wait_until(serves, server.output, START_SECONDS)
    server.wait_until_ready()


def process_group(server: Server, name: str) -> int:
    """Return the process group of a line of the Procfile."""
    (found,) = re.findall(rf"{name}\.1 started \(pid=(\d+)\)", server.output())
    return int(found)


def assert_nothing_is_left(project: Path, server: Server) -> None:
    assert str(project) not in run(["ps", "-e", "-o", "args"], project)
    # Postgres removes this file at the end of its shutdown.
    assert not (backend(project) / ".postgres/postmaster.pid").exists(), server.output()


def test_backend_runs_alone_without_a_frontend(monorepo: Path, tmp_path: Path) -> None:
    assert not (monorepo / "frontend").exists(), "this test must run first"
    with make_dev(monorepo, tmp_path) as server:
        server.wait_until_ready()
        assert HINT in server.output()
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(STOP_SECONDS) != 0
    assert "frontend.1" not in server.output()
    assert_nothing_is_left(monorepo, server)


def test_client_needs_a_frontend(monorepo: Path) -> None:
    assert not (monorepo / "frontend").exists(), "this test must run before those with a frontend"
    assert NO_FRONTEND in make(monorepo, "client", exit_code=2)


def test_client_needs_node(both: Path, tmp_path: Path) -> None:
    assert NO_NODE in make(both, "client", exit_code=2, path=str(tmp_path))


def test_types_of_the_frontend_follow_the_api(both: Path, frontend: Path) -> None:
    part, folder = backend(both), both / "frontend"
    schema, endpoints = folder / SCHEMA, part / "app/api/v1/users.py"
    first, code = schema.read_bytes(), endpoints.read_text(encoding="utf-8")
    assert first == (frontend / SCHEMA).read_bytes()  # the command of the other layout's page
    make(both, "client")
    assert schema.read_bytes() == first
    make(part, "check-client")

    endpoints.write_text(code.replace("def read_me(", "def read_self("), encoding="utf-8")
    assert STALE in make(part, "check", exit_code=2)  # the command of the workflow
    assert schema.read_bytes() == first
    make(both, "client")
    make(part, "check-client")
    (folder / "node_modules").symlink_to(frontend / "node_modules")
    with pytest.raises(AssertionError, match="readMe"):  # the frontend uses the old name
        check_types(folder)

    endpoints.write_text(code, encoding="utf-8")
    make(both, "client")
    assert schema.read_bytes() == first
    check_types(folder)
    (folder / "node_modules").unlink()


def test_user_can_sign_in_after_one_command_starts_both(
    both: Path, frontend_port: int, tmp_path: Path
) -> None:
    shutil.rmtree(both / "frontend/node_modules", ignore_errors=True)
    with make_dev(both, tmp_path) as server:
        env = f"VITE_BACKEND=http://localhost:{server.port}\n"
        (both / "frontend/.env.development").write_text(env, encoding="utf-8")
        wait_until_both_serve(server, frontend_port)
        app = [str(python_of(backend(both))), "-m", "app"]
        create = [*app, "create-user", EMAIL, "--password-stdin"]
        run(create, backend(both), project_environment(), text=PASSWORD)
        with chromium() as (_, browser):
            page = sign_in(browser.new_page(), f"http://localhost:{frontend_port}/")
            page.reload()
            sees(page, EMAIL)
            me = f"backend.GET('{ME}').then(({{ data }}) => data.email)"
            assert page.evaluate(me) == EMAIL

        os.killpg(server.process.pid, signal.SIGINT)  # like Ctrl-C
        assert server.process.wait(STOP_SECONDS) != 0
    output = server.output()
    assert f"http://localhost:{server.port}/docs" in output
    for name in ("backend", "frontend"):
        assert re.search(rf"^\S+ {name}\.1 +\| .*localhost", output, re.MULTILINE), output
    assert HINT not in output
    assert_nothing_is_left(both, server)


def close_terminal(server: Server) -> None:
    os.killpg(server.process.pid, signal.SIGHUP)


def kill_make(server: Server) -> None:
    server.process.terminate()


def kill_frontend(server: Server) -> None:
    os.killpg(process_group(server, "frontend"), signal.SIGKILL)


def kill_backend(server: Server) -> None:
    os.killpg(process_group(server, "backend"), signal.SIGTERM)


def interrupt_during_a_request(server: Server) -> None:
    headers = ["Host: localhost", f"Content-Type: {FORM}", "Content-Length: 1"]
    request = [f"POST {LOGIN} HTTP/1.1", *headers, "Expect: 100-continue", "", ""]
    with socket.create_connection(("127.0.0.1", server.port), STOP_SECONDS) as connection:
        connection.sendall("\r\n".join(request).encode())
        assert b"100 Continue" in connection.recv(1024)  # the server waits for the body
        os.killpg(server.process.pid, signal.SIGINT)
        server.process.wait(STOP_SECONDS)


@pytest.mark.parametrize(
    "end",
    [close_terminal, kill_make, kill_frontend, kill_backend, interrupt_during_a_request],
)
def test_backend_and_frontend_stop_together(
    both: Path, frontend_port: int, tmp_path: Path, end: Callable[[Server], None]
) -> None:
    with make_dev(both, tmp_path) as server:
        wait_until_both_serve(server, frontend_port)
        end(server)
        assert server.process.wait(STOP_SECONDS) != 0
    assert_nothing_is_left(both, server)


def test_own_makefile_with_the_documented_additions_starts_both(
    both: Path, frontend_port: int, tmp_path: Path
) -> None:
    page = (backend(both) / "docs/monorepo.md").read_text(encoding="utf-8")
    for name, language in (("Makefile", "make"), ("Procfile.dev", "text")):
        (block,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        (both / name).write_text(block, encoding="utf-8")
    with make_dev(both, tmp_path) as server:
        wait_until_both_serve(server, frontend_port)
        close_terminal(server)
        assert server.process.wait(STOP_SECONDS) != 0
    assert_nothing_is_left(both, server)
