"""`make demo`, as a new user runs it."""

import os
import signal
import socket
import sys
from pathlib import Path

from scripts.demo import EMAIL, PASSWORD
from tests.support.client import Browser
from tests.support.commands import git, run
from tests.support.servers import free_port, started


def test_demo_serves_a_user_and_leaves_nothing_running(clone: Path, tmp_path: Path) -> None:
    # The demo must ignore the database that the environment names.
    environment = os.environ | {"PORT": str(free_port()), "DATABASE_URL": "postgresql://x@y/z"}
    with started(
        [sys.executable, "-m", "scripts.demo"], clone, environment, tmp_path / "log"
    ) as demo:
        demo.wait_until_ready()
        while "Sign in as" not in demo.output():
            assert demo.process.poll() is None, demo.output()
        browser = Browser(demo.port)
        credentials = {"username": EMAIL, "password": PASSWORD}
        assert browser.post("/api/v1/auth/login", credentials).status == 200
        assert browser.get("/api/v1/users/me").body["email"] == EMAIL
        assert Browser(demo.port).get("/docs").status == 200
        assert f"http://localhost:{demo.port}/docs" in demo.output()

        assert demo.stop(signal.SIGINT) == 0, demo.output()
    assert str(clone) not in run(["ps", "-e", "-o", "args"], tmp_path)
    assert git(clone, "status", "--porcelain") == ""


def test_taken_port_prints_one_line(clone: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "scripts.demo"]
        output = run(command, clone, os.environ | {"PORT": port}, exit_code=1)
    assert output.count("\n") == 1
    assert f"Port {port} is taken" in output
    assert not (clone / ".demo").exists()
