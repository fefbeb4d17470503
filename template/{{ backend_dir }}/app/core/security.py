"""Password hashing: in threads, bounded, and as slow for a user who does not exist."""

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
"""Characters in a password. Long enough for any passphrase, short enough to hash at once."""
MAX_THREADS: Final = 4
MAX_WAITING: Final = 32
"""Requests that may wait for a hash; hashing is the one thing here that costs real time."""
RESERVED: Final = 8
"""Of these places, those that are kept for known devices."""
MAX_PER_CLIENT: Final = 8
"""Hashes that one client, or one account, may have in progress or waiting."""


class HashingUnavailable(Exception):
    """Too many requests wait for a password hash."""


@dataclass(frozen=True)
class Requester:
    """The client or account that a hash is for.

    keys: names that share the bound `MAX_PER_CLIENT`, such as the client's network.
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

    bcrypt_sha256 for new hashes: bcrypt alone stops reading at byte 72. Plain bcrypt and lower
    costs still verify, and are replaced at the next login.
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
        # Requests from unknown devices pass this first. No more of them than there are threads can
        # then be ahead of a known device.
        self._unknown = asyncio.Semaphore(self._threads)
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

    async def hash(self, password: str, requester: Requester = ANYONE) -> str:
        """Return the hash of a new password. Raise `HashingUnavailable`."""
        async with self._place(requester):
            return await self._loop.run_in_executor(self._pool, self._context.hash, password)

    async def verify(
        self, password: str, hashed: str | None, requester: Requester = ANYONE
    ) -> tuple[bool, str | None]:
        """Check a password against a stored hash, or None for a user who does not exist.

        Return whether it is right, and a new hash if the stored one should be replaced. It takes
        the same time whatever the outcome. Raise `HashingUnavailable`.
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
                pass  # a stored value that is no hash, or a password that bcrypt can't have made
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
