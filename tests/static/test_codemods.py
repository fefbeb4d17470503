"""Renames in a project's code: the codemods follow the meaning of a name, not its spelling."""

import re
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

from template_update.codemods.folder import apply
from template_update.codemods.registry import REGISTRY, Renames, between, load
from template_update.package import Package

SESSION = '''"""Sessions."""

class Session:
    id: int

    def is_over(self, at: int) -> bool:
        return at > 0

    @classmethod
    def open(cls) -> "Session":
        return cls()


class Other:
    def is_over(self) -> bool:
        return True


def find(db: object, even_expired: bool = False) -> Session | None:
    return Session() if even_expired else None


async def load(key: str) -> Session:
    return Session()


LIMIT = 3
'''
FILES = {
    "app/__init__.py": "",
    "app/models/__init__.py": 'from app.models.session import Session\n\n__all__ = ["Session"]\n',
    "app/models/session.py": SESSION,
    "app/core/__init__.py": "",
    "app/core/settings.py": "class Settings:\n    mail_host: str = ''\n",
}
CLASS = {"names": {"app.models.session.Session": "app.models.session.UserSession"}}
MODULE = {"names": {"app.models.session": "app.models.user_session"}}
METHOD = {"names": {"app.models.session.Session.is_over": "app.models.session.Session.expired"}}
PARAMETER = {"names": {"app.models.session.find(even_expired)": "allow_expired"}}
MOVED = {"names": {"app.models.session.LIMIT": "app.core.limits.SESSIONS"}}
SETTING = {"settings": {"MAIL_HOST": "SMTP_HOST"}}


def renamed(
    folder: Path,
    table: dict[str, dict[str, str]],
    code: str,
    name: str = "app/own.py",
    package: str = "app",
) -> str:
    """Return a file of a project after renames."""
    for path, text in {**FILES, name: dedent(code).lstrip("\n")}.items():
        file = folder / path.replace("app", package, 1)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("from app", f"from {package}"), encoding="utf-8")
    apply(Renames.read(table), folder, Package(package))
    return (folder / name.replace("app", package, 1)).read_text(encoding="utf-8")


# The code before and after: differences are written as «before|after».
CASES: Final = {
    "class": (
        CLASS,
        """
        from app.models.session import «Session|UserSession»

        s: «Session|UserSession» = «Session|UserSession»()
        """,
    ),
    "class-through-a-package": (
        CLASS,
        """
        from app.models import «Session|UserSession»

        x = [«Session|UserSession», 'Session']
        """,
    ),
    "alias": (
        CLASS,
        """
        from app.models.session import «Session|UserSession» as S

        s = S()
        """,
    ),
    "through-a-module": (
        CLASS,
        """
        from app.models import session

        s = session.«Session|UserSession»()
        """,
    ),
    "dotted": (
        CLASS,
        """
        import app.models.session

        s = app.models.session.«Session|UserSession»()
        """,
    ),
    "variables-in-a-tuple": (
        METHOD,
        """
        from app.models.session import Other, Session


        def check(mine: Session, other: Other) -> bool:
            a, b = mine, other
            c, d = {}
            return a.«is_over|expired»(1) and b.is_over() and c.is_over() and d.is_over()
        """,
    ),
    "own-class-of-the-same-name": (
        CLASS,
        """
        class Session:
            pass


        s = Session()
        """,
    ),
    "another-library": (
        CLASS,
        """
        from sqlalchemy.orm import Session

        s = Session()
        """,
    ),
    "new-name-is-taken": (
        CLASS,
        """
        from app.models.session import«| UserSession as» Session


        class UserSession(Session):
            pass
        """,
    ),
    "shadowed-by-a-parameter": (
        CLASS,
        """
        from app.models.session import «Session|UserSession»


        def f(Session):
            return Session
        """,
    ),
    "annotation-in-quotes": (
        CLASS,
        """
        from app.models.session import «Session|UserSession»


        def f(s: "«Session|UserSession»") -> "«Session|UserSession»": ...
        """,
    ),
    "import-in-a-function": (
        CLASS,
        """
        def f():
            from app.models.session import «Session|UserSession»

            return «Session|UserSession»()
        """,
    ),
    "dotted-name-in-a-string": (
        CLASS,
        """
        x.setattr('app.models.session.«Session|UserSession»', 1)
        """,
    ),
    "module": (
        MODULE,
        """
        from app.models import «session|user_session», user
        from app.models.«session|user_session» import LIMIT

        x = «session|user_session».LIMIT
        """,
    ),
    "module-dotted": (
        MODULE,
        """
        import app.models.«session|user_session»

        x = app.models.«session|user_session».LIMIT
        """,
    ),
    "method-of-an-annotated-parameter": (
        METHOD,
        """
        from app.models.session import Session


        def f(s: Session | None):
            return s.«is_over|expired»(1)
        """,
    ),
    "method-of-a-result": (
        METHOD,
        """
        from app.models.session import find, load


        async def f(x):
            a, s = 1, find(1)
            t = find(x)
            u = await load('')
            return t.«is_over|expired»(1), u.«is_over|expired»(1), x.is_over(1)
        """,
    ),
    "method-of-the-class": (
        METHOD,
        """
        from app.models.session import Session

        x = Session.open().«is_over|expired»(1), Session.«is_over|expired»
        """,
    ),
    "method-of-another-class": (
        METHOD,
        """
        from app.models.session import Other

        x = Other().is_over()
        """,
    ),
    "inherited-method": (
        METHOD,
        """
        from app.models.session import Session


        class Own(Session):
            def f(self):
                return self.«is_over|expired»(1)
        """,
    ),
    "method-of-an-attribute": (
        METHOD,
        """
        from app.models.session import Session


        class Own:
            def __init__(self, s: Session) -> None:
                self.s = s

            def f(self):
                return self.s.«is_over|expired»(1)
        """,
    ),
    "method-of-an-annotated-alias": (
        METHOD,
        """
        from typing import Annotated

        from app.models.session import Session

        Current = Annotated[Session, 1]


        def f(s: Current):
            return s.«is_over|expired»(1)
        """,
    ),
    "method-named-in-a-string": (
        METHOD,
        """
        from app.models.session import Session

        x.setattr(Session, '«is_over|expired»', 1)
        x.setattr(y, 'is_over', 1)
        """,
    ),
    "parameter": (
        PARAMETER,
        """
        from app.models import session

        x = session.find(1, «even_expired|allow_expired»=True), other(even_expired=True)
        """,
    ),
    "setting": (
        SETTING,
        """
        from app.core.settings import Settings


        def f(settings: Settings):
            other = Settings(«mail_host|smtp_host»='x')
            return settings.«mail_host|smtp_host», '«MAIL_HOST|SMTP_HOST»', other
        """,
    ),
    "comments-in-an-import": (
        CLASS,
        """
        from app.models.session import (  # ticket 42
            # the first
            «Session|UserSession»,  # noqa: F401
            Other,  # the other
        )
        """,
    ),
    "comments-in-an-import-of-a-module": (
        MODULE,
        """
        from app.models.«session|user_session» import (  # ticket 42
            Session as S,  # noqa: F401
        )
        """,
    ),
    "relative-import": (
        CLASS,
        """
        from .models.session import Other, «Session|UserSession»
        from.models import «Session|UserSession» as S
        """,
    ),
    "module-with-an-alias-of-its-own-name": (
        MODULE,
        """
        import app.models.«session|user_session» as session

        x = session.LIMIT


        def f():
            from app.models import «session|user_session as session»

            return session.LIMIT
        """,
    ),
    "explicit-export": (
        CLASS,
        """
        from app.models.session import Other as Other, «Session as Session|UserSession»

        __all__ = ["Other", "«Session|UserSession»"]
        x = «Session|UserSession»
        """,
    ),
    "explicit-export-whose-new-name-is-taken": (
        CLASS,
        """
        from app.models.session import «Session|UserSession» as Session

        UserSession = Session
        """,
    ),
    "parameter-named-as-its-module": (
        CLASS,
        """
        from app.models import session


        def f(session: session.«Session|UserSession») -> "session.«Session|UserSession»": ...
        """,
    ),
    "module-of-a-package-that-is-imported": (
        CLASS,
        """
        from app import models

        x = models.«Session|UserSession», models.session.«Session|UserSession»
        """,
    ),
    "text-that-is-not-as-it-is-written": (
        METHOD,
        """
        from app.models.session import Session

        x = getattr(Session, '''is_over'''), getattr(Session, "is" "_over")
        """,
    ),
    "method-of-a-variable-of-the-module": (
        METHOD,
        """
        from app.models.session import Session, find, load

        mine = Session()
        found = find(1)
        noted: Session = load("")
        x = mine.«is_over|expired»(1)


        def f(noted_too=mine):
            return mine.«is_over|expired»(1), found.«is_over|expired»(1), noted.«is_over|expired»(1)


        def g(mine):
            return mine.is_over(1)
        """,
    ),
    "overriding-method": (
        METHOD,
        """
        from app.models import Session


        class Own(Session):
            def «is_over|expired»(self, at):
                return super().«is_over|expired»(at) or super().other()


        class Nearer(Own):
            «is_over|expired» = None


        class Unrelated:
            def is_over(self):
                return super().is_over()


        x = Nearer().«is_over|expired»
        """,
    ),
    "annotation-in-quotes-with-more-than-a-name": (
        CLASS,
        """
        from typing import Annotated, Literal, cast

        from app.models import session
        from app.models.session import «Session|UserSession»

        a: "«Session|UserSession» | None" = None
        b: list["dict[str, «Session|UserSession»]"] = []
        c: "list['«Session|UserSession»']" = cast("session.«Session|UserSession»", a)
        d: Annotated["«Session|UserSession»", "Session"]
        e: Literal["Session"]
        f: '''Session'''
        g: "no annotation: Session"
        """,
    ),
    "broken": (
        CLASS,
        """
        this is no Python: Session
        """,
    ),
    "wide-characters": (
        CLASS,
        """
        from app.models.session import «Session|UserSession»  # 🚀

        x = '🚀', «Session|UserSession»
        """,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_uses_are_renamed(tmp_path: Path, case: str) -> None:
    table, text = CASES[case]
    before, after = (dedent(re.sub("«(.*?)[|](.*?)»", group, text)) for group in (r"\1", r"\2"))
    assert renamed(tmp_path, table, before) == after.lstrip("\n")


def test_definition_and_its_own_uses_are_renamed(tmp_path: Path) -> None:
    renamed(tmp_path, {"names": CLASS["names"] | METHOD["names"] | PARAMETER["names"]}, "")
    text = (tmp_path / "app/models/session.py").read_text(encoding="utf-8")
    assert "class UserSession:" in text
    assert "    def expired(self, at: int)" in text
    assert 'def open(cls) -> "UserSession":' in text
    assert "class Other:\n    def is_over(self)" in text
    assert "def find(db: object, allow_expired: bool = False) -> UserSession | None:" in text
    assert "return UserSession() if allow_expired else None" in text
    package = (tmp_path / "app/models/__init__.py").read_text(encoding="utf-8")
    assert package == 'from app.models.session import UserSession\n\n__all__ = ["UserSession"]\n'


def test_module_is_moved_with_the_project_s_edits(tmp_path: Path) -> None:
    renamed(tmp_path, MODULE, "")
    assert not (tmp_path / "app/models/session.py").exists()
    assert (tmp_path / "app/models/user_session.py").read_text(encoding="utf-8") == SESSION


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from app.models.session import LIMIT  # noqa\nx = 1\n", "x = 1\n"),
        (
            "from app.models.session import LIMIT, find\n",
            "from app.models.session import find\n",
        ),
    ],
    ids=["alone", "with others"],
)
def test_module_does_not_import_what_moves_into_it(tmp_path: Path, before: str, after: str) -> None:
    table = {"names": {"app.models.session.LIMIT": "app.own.LIMIT"}}
    assert renamed(tmp_path, table, before) == after


def test_module_becomes_a_package(tmp_path: Path) -> None:
    names = {
        "app.models.session": "app.models.session.records",
        "app.models.session.LIMIT": "app.models.session.limits.LIMIT",
    }
    code = """
        from app.models import session
        from app.models.session import find

        x = session.LIMIT, session.Session
    """
    assert renamed(tmp_path, {"names": names}, code) == (
        "from app.models.session.limits import LIMIT\n"
        "from app.models.session import records\n"
        "from app.models.session.records import find\n\n"
        "x = LIMIT, records.Session\n"
    )
    assert not (tmp_path / "app/models/session.py").exists()
    assert (tmp_path / "app/models/session/records.py").exists()

    # A project that already has the new names does not change.
    (tmp_path / "app/models/session/__init__.py").touch()
    assert apply(Renames.read({"names": names}), tmp_path, Package("app")) == []


def test_name_that_moves_to_another_module_is_imported_from_there(tmp_path: Path) -> None:
    code = "from app.models import session\n\nx = session.LIMIT, session.find\n"
    assert renamed(tmp_path, MOVED, code) == (
        "from app.core.limits import SESSIONS\nfrom app.models import session\n\n"
        "x = SESSIONS, session.find\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "if True:\n\tfrom app.models.session import LIMIT, find  # noqa\n",
            "if True:\n\tfrom app.core.limits import SESSIONS  # noqa\n"
            "\tfrom app.models.session import find  # noqa\n",
        ),
        (
            "if True: from app.models.session import LIMIT, find\n",
            "if True: from app.core.limits import SESSIONS; from app.models.session import find\n",
        ),
        (
            "if True: \\\n    from app.models.session import LIMIT, find\n",
            "if True: \\\n"
            "    from app.core.limits import SESSIONS; from app.models.session import find\n",
        ),
        (
            "x = 1; from app.models.session import LIMIT, find as find; y = 2\n",
            "x = 1; from app.core.limits import SESSIONS; "
            "from app.models.session import find as find; y = 2\n",
        ),
        (
            "from app.models.session import (  # a\n    # b\n    LIMIT,  # c\n    find as f,\n"
            "    load,  # d\n    # e\n)\n",
            "from app.core.limits import (  # a\n    # b\n    SESSIONS,  # c\n)\n"
            "from app.models.session import (  # a\n    find as f,\n    # e\n    load,  # d\n)\n",
        ),
    ],
)
def test_import_is_split_by_the_new_modules(tmp_path: Path, before: str, after: str) -> None:
    assert renamed(tmp_path, MOVED, before) == after


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        ("#!/usr/bin/env python\n", ""),
        ('"""A\n\f\ndocstring."""\nfrom __future__ import annotations\n', ""),
        ('"""A\n\f\ndocstring."""\n', "import os\n"),
        ("from __future__ import annotations; import os\n", ""),
        ('"""CRLF."""\r\n', "import os\r\n"),
    ],
)
def test_import_is_added_after_docstring_and_future_imports(
    tmp_path: Path, head: str, rest: str
) -> None:
    end = "\r\n" if "\r" in head else "\n"
    function = "def f():\n    from app.models import session\n    return session.LIMIT\n"
    function = function.replace("\n", end)
    file = tmp_path / "app/own.py"
    file.parent.mkdir()
    file.write_bytes((head + rest + function).encode())
    (tmp_path / "app/models").mkdir()
    (tmp_path / "app/models/session.py").write_text("LIMIT = 1\n")
    apply(Renames.read(MOVED), tmp_path, Package())
    added = f"from app.core.limits import SESSIONS{end}"
    function = function.replace("session.LIMIT", "SESSIONS")
    assert file.read_bytes().decode() == head + added + rest + function


def test_added_import_shadows_no_name(tmp_path: Path) -> None:
    code = "from app.models import session\n\nSESSIONS = session.LIMIT\n"
    assert renamed(tmp_path, MOVED, code) == (
        "from app.core.limits import SESSIONS as limits_SESSIONS\n"
        "from app.models import session\n\nSESSIONS = limits_SESSIONS\n"
    )


def test_name_that_another_module_has_by_an_alias_is_kept(tmp_path: Path) -> None:
    alias = tmp_path / "app/alias.py"
    alias.parent.mkdir()
    alias.write_text(
        "import app.models.session as session\nfrom app.models.session import Session as Base\n"
    )
    code = "from app import alias\nfrom app.alias import Base, session\n\nx = alias.Base, Base\n"
    names = {"app.models.session.Session": "app.models.user_session.UserSession"}
    assert renamed(tmp_path, {"names": MODULE["names"] | names}, code) == code
    assert alias.read_text() == (
        "import app.models.user_session as session\n"
        "from app.models.user_session import UserSession as Base\n"
    )


def test_module_is_unchanged_if_the_renames_would_break_it(tmp_path: Path) -> None:
    table = {"names": {"app.models.session.Session": "app.models.session.not a name"}}
    code = "from app.models.session import Session\n"
    assert renamed(tmp_path, table, code) == code


def test_parameter_of_an_override_is_renamed(tmp_path: Path) -> None:
    table = {"names": {"app.models.session.Session.is_over(at)": "now"}}
    code = """
    from app.models.session import Session

    class Own(Session):
        def is_over(self, at):
            return super().is_over(at=at)

    own = Own()
    x = own.is_over(at=1)
    """
    text = renamed(tmp_path, table, code)
    assert "def is_over(self, now):\n        return super().is_over(now=now)" in text
    assert "own.is_over(now=1)" in text


def test_class_of_a_variable_in_another_module_is_known(tmp_path: Path) -> None:
    file = tmp_path / "app/box.py"
    file.parent.mkdir()
    file.write_text("from app.models import Session\n\nopened = Session.open()\n")
    code = """
    from app import box
    from app.box import opened

    x = box.opened.is_over(1), opened.is_over(1), getattr(opened, "is_over")
    """
    assert 'box.opened.expired(1), opened.expired(1), getattr(opened, "expired")' in (
        renamed(tmp_path, METHOD, code)
    )


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    texts = {"own.py": "x = 'app.models.session'\n", "x.md": "app.models.session\n"}
    for name, text in texts.items():
        (outside / name).write_text(text)
    project = tmp_path / "project"
    project.mkdir()
    (project / "folder").symlink_to(outside)
    for name in texts:
        (project / name).symlink_to(outside / name)
    renamed(project, {**MODULE, "files": {"folder/x.md": "folder/y.md"}}, "", "app/other.py")
    assert {it.name: it.read_text() for it in outside.iterdir()} == texts
    assert all((project / name).is_symlink() for name in texts)


def test_renamed_package_keeps_its_name(tmp_path: Path) -> None:
    code = "from app.models.session import Session\n\ns = Session()\n"
    assert renamed(tmp_path, CLASS, code, package="shop") == (
        "from shop.models.session import UserSession\n\ns = UserSession()\n"
    )


@pytest.mark.parametrize(
    ("table", "name", "before", "after"),
    [
        (SETTING, ".env", "MAIL_HOST=x\nMY_MAIL_HOST=y\n", "SMTP_HOST=x\nMY_MAIL_HOST=y\n"),
        (SETTING, "compose.yml", "a: ${MAIL_HOST:-x}\n", "a: ${SMTP_HOST:-x}\n"),
        (
            MODULE,
            "README.md",
            "See `app/models/session.py`.\n",
            "See `app/models/user_session.py`.\n",
        ),
        (MODULE, "Makefile", "# app.models.session\n", "# app.models.user_session\n"),
        (CLASS, "docs/x.md", "A Session is a session.\n", "A Session is a session.\n"),
        (METHOD, "docs/x.md", "Call `is_over`.\n", "Call `is_over`.\n"),  # of two classes
        (PARAMETER, "docs/x.md", "An even_expired token.\n", "An even_expired token.\n"),
        (
            {"files": {"docs/a.md": "docs/b.md"}},
            "docs/x.md",
            "[a](docs/a.md)\n",
            "[a](docs/b.md)\n",
        ),
    ],
)
def test_texts_are_renamed_if_the_name_is_unambiguous(
    tmp_path: Path, table: dict[str, dict[str, str]], name: str, before: str, after: str
) -> None:
    assert renamed(tmp_path, table, before, name) == after


def test_file_that_is_not_text_is_unchanged(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"\xff\xfeMAIL_HOST")
    renamed(tmp_path, SETTING, "")
    assert (tmp_path / "logo.png").read_bytes() == b"\xff\xfeMAIL_HOST"


def test_versions_between_two_others_are_applied_in_order(tmp_path: Path) -> None:
    file = tmp_path / "renames.toml"
    file.write_text('["10.0.0".names]\n"a.b" = "a.c"\n["9.0.0".names]\n"a.a" = "a.b"\n')
    assert [it.names for it in between("1.0.0", "10.0.0", file)] == [{"a.a": "a.b"}, {"a.b": "a.c"}]
    assert list(between("10.0.0", "11.0.0", file)) == []
    assert list(between("9.0.0", "9.5.0", file)) == []


def test_registry_can_be_read() -> None:
    assert all(version.count(".") == 2 for version in load(REGISTRY))


def test_renames_follow_modules_that_the_project_has_moved() -> None:
    renames = Renames.read(
        {
            "names": {
                "app.users": "app.accounts",
                "app.users.User": "app.accounts.Account",
                "app.users.find(mail)": "email",
                "app.user_names.User": "app.user_names.Account",
            }
        }
    )
    moved = {"app.users": "app.own.people"}
    assert renames.following(moved) == Renames(
        {
            "app.own.people.User": "app.own.people.Account",
            "app.user_names.User": "app.user_names.Account",
        },
        {"app.own.people.find": {"mail": "email"}},
    )
    assert renames.modules_after(moved) == {"app.accounts": "app.own.people"}


def test_class_of_an_attribute_is_known_from_a_later_module(tmp_path: Path) -> None:
    code = """
    from app.models.session import Session

    class Box:
        def __init__(self) -> None:
            self.session = Session()

        def check(self) -> bool:
            return self.session.is_over(1)
    """
    assert "self.session.expired(1)" in renamed(tmp_path, METHOD, code, "app/api.py")
