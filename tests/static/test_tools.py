"""A missing tool skips a test on a laptop, and fails it in CI."""

import pytest

from tests.support.tools import give_up, require_root


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_missing_tool_skips_a_test_locally_and_fails_it_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="there is no nginx"):
        give_up("there is no nginx")


def test_test_that_requires_root_is_skipped_in_ci_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(pytest.skip.Exception, match="buildah needs root: run this test as root"):
        require_root("buildah needs root")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    require_root("buildah needs root")
