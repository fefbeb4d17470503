"""Password hashing in a few threads. An unknown user takes as long as a known one."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from passlib.context import CryptContext

MAX_LENGTH: Final = 1024
"""Characters in a password: enough for any passphrase, and few enough to hash quickly."""
MAX_THREADS: Final = 4
MAX_WAITING: Final = 32
"""Requests that may wait for a hash, which takes longer than everything else."""
RESERVED: Final = 8
"""How many of the `MAX_WAITING` places are reserved for known devices."""
MAX_PER_CLIENT: Final = 8
"""Hashes that one client, or one account, may have in progress or waiting."""


class HashingUnavailable(Exception):
    """Too many requests wait for a password hash."""


@dataclass(frozen=True)
class Requester:
    """The client or account that a hash is for.

    keys: names that `MAX_PER_CLIENT` applies to, such as the client's network.
    is_known: the user has signed in on this device before, so the request takes precedence.
    """

    keys: frozenset[str] = frozenset()
    is_known: bool = False


ANYONE: Final = Requester()


class BrokenPasslib(Exception):
    """Password hashing does not work in this installation."""

    def __str__(self) -> str:
        return (
            "Password hashing does not work: passlib is installed over libpass. "
            "Remove both, then install libpass again."
        )


class PasswordHasher:
    """Hashes and verifies passwords in a few threads of its own.

    New hashes are bcrypt_sha256, because bcrypt itself ignores all bytes after the 72nd. Hashes of
    plain bcrypt or with a lower cost are still valid, and are replaced at the next sign-in.
    """

    def __init__(self, rounds: int) -> None:
        """Create the threads. rounds: bcrypt's cost, as the exponent of a power of two."""
        self._context = CryptContext(
            schemes=["bcrypt_sha256", "bcrypt"],
            deprecated=["bcrypt"],
            bcrypt_sha256__rounds=rounds,
            bcrypt__rounds=rounds,
        )
        self._threads = _cores()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="password-hash")
        self._pending = 0
        self._pending_by_key: Counter[str] = Counter()
        self._thread = asyncio.Semaphore(self._threads)
        # A request from an unknown device acquires this first. At most as many of these requests as
        # there are threads are therefore ahead of a known device.
        self._unknown = asyncio.Semaphore(self._threads)
        # A well-formed hash of no password, so that an unknown user takes as long as a known one.
        self._dummy = f"$bcrypt-sha256$v=2,t=2b,r={rounds}${'.' * 22}${'.' * 31}"
        # The first use of passlib loads bcrypt, which would slow down the first sign-in.
        self.check_installation()

    @staticmethod
    def check_installation() -> None:
        """Raise `BrokenPasslib` if passlib itself was installed over libpass.

        passlib overwrites the files of libpass, and fails on every hash with bcrypt 5. pip does not
        report this.
        """
        context = CryptContext(schemes=["bcrypt_sha256"], bcrypt_sha256__rounds=4)
        try:
            works = context.verify("self-test", context.hash("self-test"))
        except Exception as error:
            raise BrokenPasslib from error
        if not works:
            raise BrokenPasslib

    async def hash(self, password: str, requester: Requester = ANYONE) -> str:
        """Return the hash of a new password. Raise `HashingUnavailable`."""
        async with self._place(requester):
            return await self._loop.run_in_executor(self._pool, self._context.hash, password)

    async def verify(
        self, password: str, hashed: str | None, requester: Requester = ANYONE
    ) -> tuple[bool, str | None]:
        """Verify a password against a stored hash, or None for a user who does not exist.

        Return whether it is correct, and a new hash if the stored one should be replaced. Every
        result takes the same time. Raise `HashingUnavailable`.
        """
        async with self._place(requester):
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
                pass  # the stored value is not a hash, or bcrypt does not accept the password
        self._context.verify(password, self._dummy)
        return False, None

    @asynccontextmanager
    async def _place(self, requester: Requester) -> AsyncIterator[None]:
        places = self._threads + MAX_WAITING - (0 if requester.is_known else RESERVED)
        busiest = max((self._pending_by_key[key] for key in requester.keys), default=0)
        if self._pending >= places or busiest >= MAX_PER_CLIENT:
            raise HashingUnavailable
        self._pending += 1
        self._pending_by_key.update(requester.keys)
        try:
            async with nullcontext() if requester.is_known else self._unknown, self._thread:
                yield
        finally:
            self._pending -= 1
            self._pending_by_key -= Counter(requester.keys)  # drops the keys that reach 0

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()


def _cores() -> int:
    """Return how many hashes to compute at once.

    A container may use fewer cores than its host has.
    """
    mine = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(mine, MAX_THREADS)
