import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future

import pytest
from passlib.context import CryptContext

from app.core.security import (
    ANYONE,
    MAX_PER_CLIENT,
    MAX_WAITING,
    RESERVED,
    BrokenPasslib,
    HashingUnavailable,
    PasswordHasher,
    Requester,
)
from app.core.startup import load_or_exit
from app.core.tokens import derive_successor, generate_token, hash_token


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    """Return a hasher with the lowest cost."""
    hasher = PasswordHasher(4)
    yield hasher
    hasher.close()


async def test_a_fresh_hash_verifies_and_needs_no_replacement(hasher: PasswordHasher) -> None:
    assert await hasher.verify("right", await hasher.hash("right")) == (True, None)
    assert await hasher.verify("wrong", await hasher.hash("right")) == (False, None)


async def test_a_hash_of_lower_cost_is_replaced(hasher: PasswordHasher) -> None:
    stronger = PasswordHasher(5)
    correct, replacement = await stronger.verify("right", await hasher.hash("right"))
    stronger.close()

    assert correct
    assert replacement is not None
    assert "r=5" in replacement


async def test_password_of_an_unknown_user_is_never_correct(hasher: PasswordHasher) -> None:
    assert await hasher.verify("anything", None) == (False, None)


class Gate:
    """Blocks all hashes until it is opened, and notes their order.

    The order is noted where a hash is given to the threads. A thread could be too late to note it,
    because the system may pause it at any time.
    """

    def __init__(self, hasher: PasswordHasher) -> None:
        self.opened = threading.Event()
        self.order: list[object] = []
        self._submit = hasher._pool.submit
        hasher._pool.submit = self._note  # type: ignore[assignment, method-assign]
        hasher._verify = self._wait  # type: ignore[assignment, method-assign]

    def _note(self, function: Callable[..., object], *arguments: object) -> Future[object]:
        self.order.append(arguments[0])
        return self._submit(function, *arguments)

    def _wait(self, _password: str, hashed: str | None) -> tuple[bool, str | None]:
        self.opened.wait()
        return hashed is not None, None


async def start(
    hasher: PasswordHasher, count: int, requester: Requester = ANYONE, name: str = "x"
) -> list[asyncio.Task[object]]:
    """Begin to verify passwords. On return, each one waits for its turn or was rejected."""
    tasks = [
        asyncio.create_task(hasher.verify(name, None, requester), name=name) for _ in range(count)
    ]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks  # type: ignore[return-value]  # a task's type is invariant


def count_rejected(tasks: list[asyncio.Task[object]]) -> int:
    """Return how many of the tasks were rejected."""
    return sum(task.done() for task in tasks)


async def test_number_of_waiting_hashes_is_limited(hasher: PasswordHasher) -> None:
    gate = Gate(hasher)
    tasks = await start(hasher, 100)
    known = await start(hasher, 100, Requester(is_known=True))
    gate.opened.set()
    results = await asyncio.gather(*tasks, *known, return_exceptions=True)

    threads = hasher._threads
    assert results.count((False, None)) == threads + MAX_WAITING
    # Some places are reserved for known devices.
    assert results[:100].count((False, None)) == threads + MAX_WAITING - RESERVED
    assert {type(it) for it in results} == {tuple, HashingUnavailable}


async def test_one_client_cannot_take_all_places(hasher: PasswordHasher) -> None:
    gate = Gate(hasher)
    one = await start(hasher, 20, Requester(frozenset({"192.0.2.1", "account a"})))
    same_account = await start(hasher, 20, Requester(frozenset({"192.0.2.2", "account a"})))
    another = await start(hasher, 1, Requester(frozenset({"192.0.2.3", "account b"})))

    assert count_rejected(one) == 20 - MAX_PER_CLIENT
    assert count_rejected(same_account) == 20
    assert count_rejected(another) == 0
    gate.opened.set()
    await asyncio.gather(*one, *same_account, *another, return_exceptions=True)
    # The places are available again.
    assert await hasher.verify("x", None, Requester(frozenset({"account a"}))) == (False, None)
    assert not hasher._pending_by_key


async def test_known_device_is_hashed_before_waiting_requests(hasher: PasswordHasher) -> None:
    gate = Gate(hasher)
    tasks = await start(hasher, 20, name="unknown")
    tasks += await start(hasher, 1, Requester(is_known=True), name="known")
    gate.opened.set()
    await asyncio.gather(*tasks)

    # Only the hashes in progress, and as many that were next, come before it.
    assert gate.order.index("known") <= 2 * hasher._threads


def test_broken_passlib_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> bool:
        raise AttributeError("module 'bcrypt' has no attribute '__about__'")

    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/name")
    monkeypatch.setenv("JWT_SECRET", "0123456789abcdefghijklmnopqrstuv")
    for outcome in (fail, lambda *_: False):
        monkeypatch.setattr(CryptContext, "verify", outcome)
        with pytest.raises(BrokenPasslib):
            PasswordHasher.check_installation()
        with pytest.raises(SystemExit) as ended:
            load_or_exit()
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_refresh_tokens_are_opaque_and_unique() -> None:
    tokens = {generate_token() for _ in range(1000)}

    assert len(tokens) == 1000
    assert all(len(token) == 43 and "." not in token for token in tokens)


def test_same_predecessor_and_nonce_derive_the_same_successor() -> None:
    predecessor, nonce = generate_token(), b"n" * 32
    successor = derive_successor(predecessor, nonce)

    assert len(successor) == 43
    assert successor == derive_successor(predecessor, nonce)
    assert successor != derive_successor(predecessor, b"m" * 32)
    assert successor != derive_successor(generate_token(), nonce)
    assert len(hash_token(successor)) == 32
