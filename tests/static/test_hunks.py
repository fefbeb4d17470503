"""Changes of both sides beside each other: merged unless they disagree."""

import pytest

from template_update.hunks import is_rewritten, merge

BASE = "import a\nimport b\n\nx = [1]\n\n\ndef f():\n    return 1\n"


def merged(base: str, ours: str, theirs: str, name: str = "x.py") -> str | None:
    """Return the merge of three texts, or None if they disagree."""
    content = merge(name, ours.encode(), base.encode(), theirs.encode())
    return None if content is None else content.decode()


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        pytest.param("a\nb\n", "a\nb\nc\n", "a\nb\nd\n", "a\nb\nc\nd\n", id="both-add-at-the-end"),
        pytest.param("a\nb\n", "A\nb\n", "a\nB\n", "A\nB\n", id="neighboring-lines"),
        pytest.param("a\nb\n", "A\nb\n", "a\nc\nb\n", "A\nc\nb\n", id="a-change-and-an-addition"),
        pytest.param("a\n", "b\n", "c\n", None, id="the-same-line"),
        pytest.param("a\n", "", "c\n", None, id="deleted-and-changed"),
        pytest.param("a = 1\n", "a = 1\nb = 2\n", "a = 1\nb = 3\n", None, id="the-same-name"),
        pytest.param(
            "from m import a, c\n",
            "from m import a, b, c\n",
            "from m import (\n    a,\n    c,\n    d,\n)\n",
            "from m import a\nfrom m import b\nfrom m import c\nfrom m import d\n",
            id="imports",
        ),
        pytest.param(
            "from m import a\nfrom n import c\n",
            "from n import c\nfrom o import d\n",
            "from m import a\nfrom p import e\n",
            "from o import d\nfrom p import e\n",
            id="imports-that-each-removed",
        ),
        pytest.param(
            '__all__ = ["a", "c"]\n',
            "__all__ = ['a', 'b', 'c']\n",
            '__all__ = [\n    "a",\n    "c",\n    "d",\n]\n',
            '__all__ = [\n    "a",\n    "b",\n    "c",\n    "d",\n]\n',
            id="a-list-that-the-other-side-reformatted",
        ),
        pytest.param("x = [1]\n", "x = [1, 1]\n", "x = [1, 2]\n", None, id="repeated-items"),
        pytest.param("x = [1]\n", "x = [1, 2]\n", "y = [1]\n", None, id="a-list-that-one-deleted"),
        pytest.param(
            "x = ['a']\n",
            "x = ['a', \"it's\"]\n",
            "x = ['a', 'say \"b\"']\n",
            'x = [\n    "a",\n    "it\'s",\n    \'say "b"\',\n]\n',
            id="strings-with-quotes",
        ),
        pytest.param(
            "x = f(1)\n", "x = f(2)\n", "x = f(3)\n", None, id="an-assignment-that-is-no-list"
        ),
    ],
)
def test_changes_are_merged_unless_they_disagree(
    base: str, ours: str, theirs: str, expected: str | None
) -> None:
    assert merged(base, ours, theirs, "x") == expected


def test_merge_that_does_not_parse_is_a_conflict() -> None:
    base = "x = (\n    1\n)\n"
    assert merged(base, "x = (\n    1,\n    2)\n", "x = [\n    1\n)\n") is None
    toml = "[a]\nx = 1\n"
    assert merged(toml, toml + "[b]\ny = 1\n", toml + "[b]\nz = 1\n", "x.toml") is None


def test_file_that_is_not_text_is_a_conflict() -> None:
    assert merge("x.bin", b"\xff\x00a", b"\xff\x00b", b"\xff\x00c") is None


def test_text_with_little_left_of_it_is_rewritten() -> None:
    base = "".join(f"line {number}\n" for number in range(20)).encode()
    assert is_rewritten(base, b"# Ours\nline 1\n")
    assert not is_rewritten(base, base + b"More.\n")
    assert not is_rewritten(base, b"".join(base.splitlines(keepends=True)[5:]))
