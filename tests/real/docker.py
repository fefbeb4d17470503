"""A Docker engine for tests: this machine's engine, or a private one from Debian packages."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.check_template import ROOT
from tests.support.servers import wait_until
from tests.support.tools import require

SCRIPTS: Final = Path(__file__).with_name("bases")
STORE: Final = ROOT / ".containers"
START_SECONDS: Final = 60


def is_available() -> bool:
    """Return whether a Docker engine responds and has Compose."""
    commands = (["docker", "info"], ["docker", "compose", "version"])
    return bool(shutil.which("docker")) and not any(
        subprocess.run(command, capture_output=True).returncode for command in commands
    )


@contextmanager
def docker_engine() -> Iterator[str | None]:
    """Provide a Docker engine for the commands of tests. Yield why there is none, or None.

    If this machine has no engine, root on Debian gets a private one. It stops at the end, and its
    images stay in `.containers` for the next run.
    """
    if is_available():
        yield None
    elif os.geteuid() != 0 or not shutil.which("apt-get"):
        yield "no Docker engine responds here; a private one needs root and Debian"
    else:
        require("iptables")
        with private_engine() as reason:
            yield reason


@contextmanager
def private_engine() -> Iterator[str | None]:
    """Run an engine on its own socket. Yield why it does not start, or None."""
    unpacked, before = STORE / "engine", dict(os.environ)
    downloaded = subprocess.run(
        [SCRIPTS / "engine.sh", unpacked],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    if downloaded.returncode != 0:
        yield f"a Docker engine cannot be downloaded:\n{downloaded.stdout}"
        return
    # The paths of the engine's sockets must be short.
    state = Path(tempfile.mkdtemp(prefix="docker-", dir="/tmp"))
    os.environ |= {
        # If this machine has a client, it is newer than Debian's.
        "PATH": os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin", f"{unpacked}/usr/bin"]),
        "DOCKER_BUILDKIT": "1",
        "DOCKER_HOST": f"unix://{state}/docker.sock",
        "DOCKER_CONFIG": str(unpacked / "config"),
    }
    command = [
        f"{unpacked}/usr/sbin/dockerd",
        f"--host=unix://{state}/docker.sock",
        f"--data-root={STORE / 'docker'}",
        f"--exec-root={state}/exec",
        f"--pidfile={state}/pid",
    ]
    own = [f"{unpacked}/usr/sbin", f"{unpacked}/usr/bin", os.environ["PATH"]]
    environment = os.environ | {"PATH": os.pathsep.join(own)}
    with (
        (state / "log").open("wb") as log,
        subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        ) as engine,
    ):
        try:
            wait_until(
                lambda: engine.poll() is not None or is_available(),
                lambda: f"dockerd does not respond:\n{(state / 'log').read_text()[-2000:]}",
                START_SECONDS,
            )
            ended = engine.poll() is not None
            yield f"dockerd ended:\n{(state / 'log').read_text()[-2000:]}" if ended else None
        finally:
            if engine.poll() is None:
                engine.send_signal(signal.SIGTERM)
            engine.wait(START_SECONDS)
            os.environ.clear()
            os.environ.update(before)
            for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
                if line.split()[1].startswith(f"{state}/"):
                    subprocess.run(["umount", line.split()[1]], check=True)
            shutil.rmtree(state)
