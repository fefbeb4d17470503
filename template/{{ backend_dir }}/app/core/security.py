"""Password hashing: off the event loop, bounded, and as slow for a user who does not exist."""

import asyncio
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from passlib.context import CryptContext

MAX_LENGTH: Final = 1024
"""Characters in a password. Long enough for any passphrase, short enough to hash at once."""
MAX_THREADS: Final = 4
MAX_WAITING: Final = 32
"""Requests that may wait for a hash; hashing is the one thing here that costs real time."""


class HashingUnavailable(Exception):
    """Too many requests wait for a password hash."""


class BrokenPasslib(Exception):
    """Password hashing does not work in this installation."""

    def __str__(self) -> str:
        return (
            "Password hashing does not work: passlib is installed over libpass. "
            "Remove both, then install libpass again."
        )


class PasswordHasher:
    """Hashes and verifies passwords in a few threads of its own.

    bcrypt_sha256 for new hashes: bcrypt alone stops reading at byte 72. Plain bcrypt and lower
    costs still verify, and are replaced at the next login.
    """

    def __init__(self, rounds: int) -> None:
        """rounds: bcrypt's cost, a power of two."""
        self._context = CryptContext(
            schemes=["bcrypt_sha256", "bcrypt"],
            deprecated=["bcrypt"],
            bcrypt_sha256__rounds=rounds,
            bcrypt__rounds=rounds,
        )
        self._threads = _cores()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="password-hash")
        self._pending = 0
        # Well formed, and the hash of nothing: an unknown user costs what a wrong password costs.
        self._dummy = f"$bcrypt-sha256$v=2,t=2b,r={rounds}${'.' * 22}${'.' * 31}"
        # The first use of passlib loads bcrypt: not at the cost, in time, of the first login.
        self.check_installation()

    @staticmethod
    def check_installation() -> None:
        """Raise `BrokenPasslib` where passlib itself was installed over libpass.

        It overwrites libpass's files, fails on every hash with bcrypt 5, and pip says nothing.
        """
        context = CryptContext(schemes=["bcrypt_sha256"], bcrypt_sha256__rounds=4)
        try:
            works = context.verify("self-test", context.hash("self-test"))
        except Exception as error:
            raise BrokenPasslib from error
        if not works:
            raise BrokenPasslib

    async def hash(self, password: str) -> str:
        """Hash a new password. Raises `HashingUnavailable`."""
        with self._place():
            return await self._loop.run_in_executor(self._pool, self._context.hash, password)

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Check a password against a stored hash, or None for a user who does not exist.

        Gives whether it is right, and a new hash when the stored one should be replaced. Takes the
        same time whatever the outcome. Raises `HashingUnavailable`.
        """
        with self._place():
            return await self._loop.run_in_executor(self._pool, self._verify, password, hashed)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        if hashed is not None:
            try:
                correct, better = self._context.verify_and_update(password, hashed)
                return bool(correct), better
            except ValueError:
                pass  # a stored value that is no hash, or a password that bcrypt can't have made
        self._context.verify(password, self._dummy)
        return False, None

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._pending >= self._threads + MAX_WAITING:
            raise HashingUnavailable
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()


def _cores() -> int:
    """Give how many hashes to make at once; a container's host has more cores than it may use."""
    mine = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(mine, MAX_THREADS)
