"""A lock between the processes of a machine. For Linux and macOS."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class FolderLock:
    """A lock between processes on a folder, which adds no file to it. Not reentrant."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptors: list[int] = []

    def __enter__(self) -> None:
        try:
            descriptor = os.open(self._folder, os.O_RDONLY)
        except FileNotFoundError:
            return  # the folder was deleted, and the process is about to exit
        with suppress(OSError):  # NFS cannot lock a folder; Postgres rejects a second server
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._descriptors.append(descriptor)

    def __exit__(self, *_: object) -> None:
        if self._descriptors:
            os.close(self._descriptors.pop())
