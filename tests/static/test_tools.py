"""What is missing skips a test on a laptop, and fails it in CI."""

import pytest

from tests.tools import give_up


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_what_is_missing_is_skipped_on_a_laptop_only(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="there is no nginx"):
        give_up("there is no nginx")
