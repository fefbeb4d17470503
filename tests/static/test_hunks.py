"""Changes of both sides to neighboring lines are merged unless they conflict."""

from collections.abc import Callable
from pathlib import Path

import pytest

from template_update.git import Repository
from template_update.hunks import is_rewritten, merge
from template_update.merging import Merged
from template_update.merging import merge as merge_commit
from tests.support.commands import commit, git

BASE = "import a\nimport b\n\nx = [1]\n\n\ndef f():\n    return 1\n"


def merged(base: str, ours: str, theirs: str, name: str = "x.py") -> str | None:
    """Return the merge of three texts, or None if they conflict."""
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


LAST_CLASS = "class UserIn(BaseModel):\n    email: str\n"
CLASS = "\n\nclass Invoice(BaseModel):\n    id: int\n    total: int\n"
OTHER_CLASS = "\n\nclass Notice(BaseModel):\n    id: int\n    text: str\n"
WORKFLOW = "jobs:\n  check:\n    steps:\n      - run: make check\n"
JOB = "  mine:\n    runs-on: ubuntu\n    steps:\n      - uses: mine\n      - run: make mine\n"
FLAT = "jobs:\n- run: check\n"


@pytest.mark.parametrize(
    ("name", "base", "opening", "continuing"),
    [
        pytest.param("x.py", LAST_CLASS, CLASS, "    nickname: str\n", id="a-field"),
        pytest.param("x.py", LAST_CLASS, CLASS, "\n    id: int\n", id="a-field-that-both-have"),
        pytest.param(
            "x.py", LAST_CLASS, CLASS, f"    nickname: str\n{OTHER_CLASS}", id="a-field-and-a-class"
        ),
        pytest.param("x.py", LAST_CLASS, "\n\nx = [\n    1,\n]\n", "    y: str\n", id="a-name"),
        pytest.param(
            "x.py", "if a:\n    if b:\n        c()\n", "    d()\n", "        e()\n", id="ifs"
        ),
        pytest.param("x.toml", "[a]\nx = 1\n", "\n[tool.mine]\nx = 1\n", "y = 2\n", id="toml"),
        pytest.param("x.toml", "[[a]]\nx = 1\n", "\n[[a]]\nx = 1\n", "y = 2\n", id="toml-tables"),
        pytest.param("x.ini", "[a]\nx = 1\n", "[mine] # ours\nz = 1\n", "y = 2\n", id="ini"),
        pytest.param("x.yml", WORKFLOW, JOB, "      - uses: theirs\n", id="a-step"),
        pytest.param("x.yml", FLAT, "mine:\n- run: it\n", "- uses: theirs\n", id="flat-list"),
        pytest.param(
            "Makefile", "a:\n\ttrue\n", "\nmine: a ## it\n\tfalse\n", "\tls\n", id="recipe"
        ),
        pytest.param("Dockerfile", "FROM a\nRUN b\n", "\nFROM c AS d\n", "RUN e\n", id="a-stage"),
        pytest.param("x.md", "# A\n\nText.\n", "\n## Ours\n\nText.\n", "\nMore.\n", id="a-heading"),
    ],
)
def test_addition_to_a_block_comes_before_a_new_block(
    name: str, base: str, opening: str, continuing: str
) -> None:
    expected = base + continuing + opening
    assert merged(base, base + opening, base + continuing, name) == expected
    assert merged(base, base + continuing, base + opening, name) == expected


@pytest.mark.parametrize(
    ("name", "base", "ours", "theirs"),
    [
        pytest.param("x.py", LAST_CLASS, CLASS, OTHER_CLASS, id="classes-with-a-field-of-one-name"),
        pytest.param("x.py", LAST_CLASS, "    a: int\n", "    b: int\n", id="fields"),
        pytest.param("x.py", "f(a.b)\n", "f(c.d)\n", "f(e.f)\n", id="router-lines"),
        pytest.param("x.yml", "a:\n  - b\n", "  - c\n", "  - d\n", id="items-of-a-list"),
        pytest.param("Makefile", "a:\n\ttrue\n", "\nb:\n\tfalse\n", "\nc:\n\tls\n", id="targets"),
        pytest.param("x.toml", "[a]\nx = 1\n", "[b]\nx = 1\n", "[c]\nx = 1\n", id="tables"),
    ],
)
def test_additions_of_the_same_kind_are_kept_with_ours_first(
    name: str, base: str, ours: str, theirs: str
) -> None:
    assert merged(base, base + ours, base + theirs, name) == base + ours + theirs


@pytest.mark.parametrize(
    ("name", "base", "ours", "theirs"),
    [
        pytest.param(
            "x.py",
            LAST_CLASS,
            f"{LAST_CLASS}    a: int\n{CLASS}",
            f"{LAST_CLASS}    b: int\n{OTHER_CLASS}",
            id="both-continue-a-block-and-open-one",
        ),
        pytest.param(
            "x.py",
            LAST_CLASS + CLASS,
            f"{LAST_CLASS}{CLASS}    ours: int\n",
            LAST_CLASS,
            id="the-class-of-the-line-is-deleted",
        ),
        pytest.param(
            "x.py",
            LAST_CLASS + CLASS,
            f"{LAST_CLASS}{CLASS}    ours: int\n",
            LAST_CLASS + OTHER_CLASS,
            id="the-class-of-the-line-is-replaced",
        ),
        pytest.param(
            "x.py",
            "class A:\n    x: int\n    y: int\n",
            "class A:\n    x: int\n    y: int\n    ours: int\n",
            "class A:\n    x: int\n\n\nclass B:\n    z: int\n",
            id="the-line-before-is-replaced-by-a-class",
        ),
        pytest.param(
            "x.py",
            "class A:\n    id: int\n    x: int\n",
            "class A:\n    id: int\n    x: int\n    ours: int\n",
            "class B:\n    id: int\n    y: int\n",
            id="the-class-is-replaced-by-one-with-a-line-in-common",
        ),
        pytest.param(
            "x.toml",
            "[a]\nx = 1\n\n[b]\ny = 1\n",
            "[a]\nx = 1\n\n[b]\nours = 1\ny = 1\n",
            "[a]\nx = 1\n\n[c]\ny = 1\n",
            id="the-table-of-the-line-is-replaced",
        ),
        pytest.param(
            "x.ini", "[a]\n", "[a]\n[b]\nx = 1\n", "[a]\n[b]\ny = 1\n", id="the-same-section"
        ),
    ],
)
def test_line_that_would_come_below_another_header_is_a_conflict(
    name: str, base: str, ours: str, theirs: str
) -> None:
    assert merged(base, ours, theirs, name) is None
    assert merged(base, theirs, ours, name) is None


def test_line_stays_if_the_line_next_to_it_is_replaced_or_deleted() -> None:
    base = "def f():\n    a()\n    b()\n    c()\n"
    ours = "def f():\n    a()\n    b()\n    ours()\n    c()\n"
    replaced = "def f():\n    a()\n    d()\n    c()\n"
    deleted = "def f():\n    a()\n    c()\n"
    assert merged(base, ours, replaced) == ours.replace("b", "d")
    assert merged(base, ours, deleted) == ours.replace("    b()\n", "")


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        ("import a\n", "import a\nimport b\n", "import a\nimport c\n", "import b\nimport c\n"),
        ('x = ["a"]\n', 'x = ["a", "b"]\n', 'x = ["a", "c"]\n', '    "b",\n    "c",\n]\n'),
    ],
)
def test_merged_lists_keep_their_line_endings(
    base: str, ours: str, theirs: str, expected: str
) -> None:
    texts = (text.replace("\n", "\r\n") for text in (base, ours, theirs))
    result = merged(*texts)
    assert result
    assert result.endswith(expected.replace("\n", "\r\n"))
    assert result.count("\n") == result.count("\r\n")


def test_merge_that_does_not_parse_is_a_conflict() -> None:
    base = "x = (\n    1\n)\n"
    assert merged(base, "x = (\n    1,\n    2)\n", "x = [\n    1\n)\n") is None
    toml = "[a]\nx = 1\n"
    assert merged(toml, toml + "[b]\ny = 1\n", toml + "[b]\nz = 1\n", "x.toml") is None


def test_file_that_is_not_text_is_a_conflict() -> None:
    assert merge("x.bin", b"\xff\x00a", b"\xff\x00b", b"\xff\x00c") is None


def test_text_with_few_original_lines_counts_as_rewritten() -> None:
    base = "".join(f"line {number}\n" for number in range(20)).encode()
    assert is_rewritten(base, b"# Ours\nline 1\n")
    assert not is_rewritten(base, base + b"More.\n")
    assert not is_rewritten(base, b"".join(base.splitlines(keepends=True)[5:]))


PATH, OTHER = "env.example", "other"
TEXT = "".join(f"{number}\n" for number in range(20))


def link(folder: Path) -> None:
    (folder / PATH).unlink(missing_ok=True)
    (folder / PATH).symlink_to(OTHER)


def link_elsewhere(folder: Path) -> None:
    (folder / PATH).unlink()
    (folder / PATH).symlink_to("elsewhere")


def change_start(folder: Path) -> None:
    (folder / PATH).unlink()
    (folder / PATH).write_text("start\n" + TEXT)


def change_end(folder: Path) -> None:
    (folder / PATH).write_text(TEXT + "end\n")


def make_folder(folder: Path) -> None:
    (folder / PATH).unlink()
    (folder / PATH).mkdir()
    (folder / PATH / "file").write_text("in a folder\n")


Change = Callable[[Path], None]


def merged_commits(folder: Path, start: Change, ours: Change, theirs: Change) -> Merged:
    """Merge two changes in a repository with a file. The result is in its work tree."""
    git(folder, "init", "--quiet")
    (folder / PATH).write_text(TEXT)
    (folder / OTHER).write_text("other\n")
    start(folder)
    commit(folder, "Base")
    git(folder, "checkout", "--quiet", "-b", "theirs")
    theirs(folder)
    commit(folder, "The template (with a name)")
    git(folder, "checkout", "--quiet", "-b", "ours", "HEAD~")
    ours(folder)
    commit(folder, "Ours")
    return merge_commit(Repository(folder), "theirs")


@pytest.mark.parametrize(
    ("start", "ours", "theirs", "stages"),
    [
        pytest.param(lambda _: None, link, change_end, "123", id="our-link-and-a-change"),
        pytest.param(lambda _: None, change_end, link, "123", id="our-change-and-a-link"),
        pytest.param(link, link_elsewhere, change_start, "123", id="two-kinds-that-were-a-link"),
        pytest.param(
            link,
            link_elsewhere,
            lambda folder: (folder / PATH).unlink() or (folder / PATH).symlink_to("theirs"),
            "123",
            id="two-links",
        ),
        pytest.param(
            lambda folder: (folder / PATH).unlink(), link, change_end, "23", id="both-add"
        ),
    ],
)
def test_file_and_link_are_a_conflict_with_our_side_in_the_work_tree(
    tmp_path: Path, start: Change, ours: Change, theirs: Change, stages: str
) -> None:
    assert merged_commits(tmp_path, start, ours, theirs) == Merged(conflicts=[PATH])
    unmerged = git(tmp_path, "ls-files", "--unmerged").splitlines()
    assert [line.split()[2:] for line in unmerged] == [[stage, PATH] for stage in stages]
    assert git(tmp_path, "diff", "--name-status", "ours").splitlines()[1:] == []
    assert {file.name for file in tmp_path.iterdir()} == {".git", PATH, OTHER}
    assert (tmp_path / OTHER).read_text() == "other\n"
    git(tmp_path, "add", "--all")
    assert git(tmp_path, "diff", "--cached", "--name-only", "ours") == ""


def test_page_that_both_add_stays_unless_git_merged_our_changes_into_the_other_one(
    tmp_path: Path,
) -> None:
    def add_page(folder: Path) -> None:
        (folder / "page.md").write_text("ours\n")

    def add_another_page(folder: Path) -> None:
        (folder / "page.md").write_text("theirs\n")

    def add_page_and_change(folder: Path) -> None:
        change_end(folder)
        add_page(folder)

    def move_to_page(folder: Path) -> None:
        (folder / PATH).rename(folder / "page.md")

    (tmp_path / "added").mkdir()
    merged = merged_commits(tmp_path / "added", lambda _: None, add_page, add_another_page)
    assert merged == Merged(kept_own=["page.md"])
    assert (tmp_path / "added/page.md").read_text() == "ours\n"

    (tmp_path / "moved").mkdir()
    merged = merged_commits(tmp_path / "moved", lambda _: None, add_page_and_change, move_to_page)
    assert merged == Merged(conflicts=["page.md"])
    assert "end\n" in (tmp_path / "moved/page.md").read_text()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (make_folder, change_end),
        (change_end, make_folder),
        (make_folder, link),
        (link, make_folder),
    ],
)
def test_file_and_folder_are_a_conflict_and_both_stay(
    tmp_path: Path, ours: Change, theirs: Change
) -> None:
    merged = merged_commits(tmp_path, lambda _: None, ours, theirs)
    (aside,) = merged.conflicts
    assert merged == Merged(conflicts=[aside])
    assert git(tmp_path, "ls-files", "--unmerged")
    assert (tmp_path / PATH / "file").read_text() == "in a folder\n"
    assert aside.startswith(f"{PATH}~")
    assert (tmp_path / aside).read_bytes()
