"""The embedded Postgres of a project, started by root and by several users of one machine."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.projects import project_environment, python_of
from tests.support.postgres import folder_for_other_user
from tests.support.tools import require_root

# Becomes a user, starts Postgres in a folder, and keeps it until standard input is closed.
# The imports come first, because Python and its libraries may be in folders of root only.
START = """
import asyncio, os, pwd, sys
from pathlib import Path
from app.db import embedded, embedded_server
if sys.argv[1] != "root":
    user = pwd.getpwnam(sys.argv[1])
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
try:
    print(embedded.start("session_tests", Path(sys.argv[2])), flush=True)
except embedded.EmbeddedPostgresError as error:
    print(error, flush=True)
sys.stdin.read()
"""
# Several processes on a new machine: /etc is a copy, and the program that creates users is slow.
FRESH_MACHINE = """
set -e
mount --bind "$1/etc" /etc
sed -i /^pgserver:/d /etc/passwd /etc/shadow /etc/group /etc/gshadow
export PATH="$1/slow:$PATH"
for number in 1 2 3; do
    "$2" -c "$3" root "$4" </dev/null &
done
wait
grep --count ^pgserver: /etc/passwd
"""


# The bits of capabilities in /proc, from linux/capability.h.
BITS = {"dac_override": 1 << 1, "dac_read_search": 1 << 2}


@contextmanager
def started(
    project: Path, user: str, folder: Path, *, without: tuple[str, ...] = ()
) -> Iterator[str]:
    """Start Postgres as a user, and yield its URL or the sentence that explains the failure.

    without: capabilities that no process can have, as in a container.
    """
    limits = [f"--bounding-set={','.join(f'-{it}' for it in without)}"] if without else []
    with subprocess.Popen(
        ["setpriv", *limits, python_of(project), "-c", START, user, folder],
        cwd=project,
        env=project_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.communicate()


@pytest.fixture
def folder_of() -> Iterator[Callable[[str], Path]]:
    """Return a function that creates a folder of a user."""
    require_root("this uses several users")
    with folder_for_other_user() as parent:

        def make(user: str) -> Path:
            (parent / user).mkdir()
            shutil.chown(parent / user, user)
            return parent / user

        parent.chmod(0o755)
        yield make


def test_concurrent_first_starts_create_the_system_user_once(
    project: Path, folder_of: Callable[[str], Path]
) -> None:
    machine = folder_of("root")
    shutil.copytree("/etc", machine / "etc", symlinks=True)
    slow = machine / "slow" / "useradd"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\nsleep 0.5\nexec {shutil.which("useradd")} "$@"\n')
    slow.chmod(0o755)

    arguments = [str(machine), str(python_of(project)), START, str(machine / ".postgres")]
    started = subprocess.run(
        ["unshare", "--mount", "sh", "-c", FRESH_MACHINE, "sh", *arguments],
        cwd=project,
        env=project_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )

    *urls, users = started.stdout.split()
    assert [url.partition("?")[0] for url in urls] == ["postgresql://postgres@/session_tests"] * 3
    assert users == "1"


def capabilities(data: Path) -> int:
    """Return the effective capabilities of the server of a data folder as bits."""
    process = (data / "postmaster.pid").read_text().split()[0]
    status = Path(f"/proc/{process}/status").read_text()
    (found,) = re.findall(r"^CapEff:\t(\w+)$", status, re.MULTILINE)
    return int(found, 16)


@pytest.mark.parametrize("mode", [0o700, 0o710, 0o750], ids=oct)
@pytest.mark.parametrize(
    ("without", "kept"), [((), "dac_read_search"), (("dac_read_search",), "dac_override")]
)
def test_closed_parent_folder_keeps_its_permissions_as_root(
    project: Path,
    folder_of: Callable[[str], Path],
    mode: int,
    without: tuple[str, ...],
    kept: str,
) -> None:
    closed = folder_of("root")
    (closed / "project").mkdir()
    closed.chmod(mode)

    data = closed / "project" / ".postgres"
    with started(project, "root", data, without=without) as url:
        assert url.startswith("postgresql://")
        assert capabilities(data) == BITS[kept]
    assert closed.stat().st_mode & 0o777 == mode


def test_inaccessible_folder_is_explained_in_one_sentence_as_root(
    project: Path, folder_of: Callable[[str], Path]
) -> None:
    closed = folder_of("root")
    closed.chmod(0o700)

    with started(project, "root", closed / ".postgres", without=tuple(BITS)) as sentence:
        assert f"may not enter {closed}: run `chmod o+x '{closed}'`" in sentence
    assert closed.stat().st_mode & 0o777 == 0o700


def test_accessible_parent_folder_keeps_its_permissions_as_root(
    project: Path, folder_of: Callable[[str], Path]
) -> None:
    parent = folder_of("root")
    parent.chmod(0o711)

    with started(project, "root", parent / ".postgres") as url:
        assert url.startswith("postgresql://")
        assert capabilities(parent / ".postgres") == 0
    assert parent.stat().st_mode & 0o777 == 0o711


def test_several_users_can_run_postgres_at_the_same_time(
    project: Path, folder_of: Callable[[str], Path]
) -> None:
    users = ["nobody", "daemon", "root"]
    folders = [folder_of(user) / ".postgres" for user in users]
    with (
        started(project, users[0], folders[0]) as first,
        started(project, users[1], folders[1]) as second,
        started(project, users[2], folders[2]) as third,
    ):
        for url in (first, second, third):
            assert url.startswith("postgresql://")
    assert not any((folder / "postmaster.pid").exists() for folder in folders)


def test_data_of_another_user_is_not_changed(
    project: Path, folder_of: Callable[[str], Path]
) -> None:
    data = folder_of("nobody") / ".postgres"
    with started(project, "nobody", data) as url:
        assert url.startswith("postgresql://")
    before = data.stat()

    with started(project, "root", data) as sentence:
        assert f"{data} has data of another user" in sentence
    with started(project, "daemon", data) as sentence:
        assert f"No permission to write {data}" in sentence
    assert (data.stat().st_uid, data.stat().st_mode) == (before.st_uid, before.st_mode)
    with started(project, "nobody", data) as url:
        assert url.startswith("postgresql://")


def test_unwritable_folder_is_explained_in_one_sentence(
    project: Path, folder_of: Callable[[str], Path]
) -> None:
    data = folder_of("root") / ".postgres"

    with started(project, "nobody", data) as sentence:
        assert sentence.startswith(f"No permission to write {data}: run this as a user who may")
    assert not data.exists()
