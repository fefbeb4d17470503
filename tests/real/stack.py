"""A rendered project's Compose files on a real Docker engine, with the documented commands."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.real.base_images import BASE
from tests.support.client import Browser
from tests.support.commands import run
from tests.support.production import CREDENTIALS, EMAIL, LOGIN, PASSWORD, SECRET

SLUG: Final = "template-tests"
DATABASE: Final = "template_tests"
# The build uses this machine's network to find the package index. The rest shortens the waits.
OVERRIDES: Final = """
services:
  app-1:
    build: {network: host}
    healthcheck: {interval: 1s}
  app-2:
    healthcheck: {interval: 1s}
  backup:
    environment: {RETRY_SECONDS: 1}
    healthcheck: {interval: 1s, start_period: 1s}
"""
# Sends several requests to a URL, with a form if there is one, and prints the statuses.
CALL: Final = """
import sys, urllib.error, urllib.request
url, form, count = sys.argv[1], sys.argv[2].encode() or None, int(sys.argv[3])
for _ in range(count):
    try:
        print(urllib.request.urlopen(url, form).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


@dataclass
class Stack:
    """The production stack of a project, with plain HTTP on a port of this machine."""

    project: Path
    port: int

    def run(self, command: str, *, exit_code: int = 0, text: str | None = None) -> str:
        """Run a shell command in the project's folder, and return its output."""
        return run(["sh", "-c", command], self.project, exit_code=exit_code, text=text)

    def follow(self, start: str, *, exit_code: int = 0, **placeholders: str) -> str:
        """Run the block of docs/deploy.md that starts with a text, and return its output.

        placeholders: the values of names in capital letters.
        """
        page = (self.project / "docs/deploy.md").read_text(encoding="utf-8")
        blocks = re.findall(r"^ *```(?:text|sh)\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
        (block,) = [block for block in blocks if block.lstrip().startswith(start)]
        for name, value in placeholders.items():
            assert name in block
            block = block.replace(name, shlex.quote(value))
        return self.run(block, exit_code=exit_code)

    def write_settings(self) -> None:
        """Write `.env`, and an override for tests."""
        (self.project / "tests.yml").write_text(OVERRIDES, encoding="utf-8")
        settings = {
            "COMPOSE_FILE": "compose.production.yml:tests.yml",
            "SITE_ADDRESS": f"http://:{self.port}",
            "CORS_ORIGINS": "https://app.example.com",
            "JWT_SECRET": SECRET,
            "POSTGRES_PASSWORD": "4e5c1f2b8a7d9063",
        }
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (self.project / ".env").write_text("".join(lines), encoding="utf-8")

    def create_user(self) -> None:
        """Create the user of the tests."""
        command = f"docker compose exec -T app-1 python -m app create-user --password-stdin {EMAIL}"
        self.run(command, text=PASSWORD)

    def sign_in(self, host: str = "127.0.0.1") -> Browser:
        """Return a browser that is signed in through one of this machine's addresses."""
        browser = Browser(self.port, host=host)
        response = browser.post(LOGIN, CREDENTIALS)
        assert response.status == 200, response.body
        return browser

    def query(self, sql: str, user: str = "postgres") -> str:
        """Run SQL in the database, and return the values."""
        psql = f"docker compose exec -T postgres psql -U {user} -d {DATABASE} -v ON_ERROR_STOP=1"
        return self.run(f"{psql} --tuples-only --no-align --file -", text=sql).strip()

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return Docker's description of each container by service."""
        found = self.run("docker inspect $(docker compose ps --all --quiet)")
        return {
            it["Config"]["Labels"]["com.docker.compose.service"]: it for it in json.loads(found)
        }

    def ids(self) -> Mapping[str, str]:
        """Return the ID of each container by service, except of the one that migrates."""
        return {name: it["Id"] for name, it in self.containers().items() if name != "migrate"}

    def is_healthy(self, service: str) -> bool:
        """Return whether a service's container is healthy."""
        return bool(self.containers()[service]["State"]["Health"]["Status"] == "healthy")

    def release(self) -> str:
        """Return the release in `.env`."""
        (name,) = re.findall(r"^RELEASE=(.*)$", (self.project / ".env").read_text(), re.MULTILINE)
        return str(name)

    def call_from(self, subnet: str, path: str, form: str = "", count: int = 1) -> list[int]:
        """Send requests from a machine in an IPv6 network, and return the statuses."""
        with network(subnet) as (name, gateway):
            url = f"http://[{gateway}]:{self.port}{path}"
            client = ["docker", "run", "--rm", f"--network={name}", BASE, "python", "-c", CALL]
            return list(map(int, run([*client, url, form, str(count)], self.project).split()))

    def remove(self) -> None:
        """Remove the containers, their data, and the images of all releases."""
        self.run("docker compose run --rm -T --no-deps backup sh -c 'rm -rf /backups/*'")
        self.run("docker compose down --volumes --remove-orphans --timeout 5")
        self.run(f"docker image rm --force $(docker image ls --quiet {SLUG} | sort -u)")


@contextmanager
def network(subnet: str) -> Iterator[tuple[str, str]]:
    """Create an IPv6 network, and yield its name and this machine's address in it."""
    name = f"{SLUG}-clients"
    run(["docker", "network", "create", "--ipv6", f"--subnet={subnet}::/64", name], Path.cwd())
    try:
        yield name, f"{subnet}::1"
    finally:
        run(["docker", "network", "rm", name], Path.cwd())
