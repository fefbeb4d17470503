from collections.abc import AsyncIterator

import pytest
from passlib.context import CryptContext

from app.core.security import BrokenPasslib, PasswordHasher
from app.core.startup import load_or_exit
from app.core.tokens import child_refresh_token, hash_refresh_token, new_refresh_token


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    """A hasher at the lowest cost."""
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


async def test_nobodys_password_is_never_right(hasher: PasswordHasher) -> None:
    assert await hasher.verify("anything", None) == (False, None)


def test_a_broken_installation_ends_the_start_with_one_line(
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


def test_refresh_tokens_are_opaque_and_all_different() -> None:
    tokens = {new_refresh_token() for _ in range(1000)}

    assert len(tokens) == 1000
    assert all(len(token) == 43 and "." not in token for token in tokens)


def test_the_same_parent_and_nonce_make_the_same_child() -> None:
    parent, nonce = new_refresh_token(), b"n" * 32
    child = child_refresh_token(parent, nonce)

    assert len(child) == 43
    assert child == child_refresh_token(parent, nonce)
    assert child != child_refresh_token(parent, b"m" * 32)
    assert child != child_refresh_token(new_refresh_token(), nonce)
    assert len(hash_refresh_token(child)) == 32
