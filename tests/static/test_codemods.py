"""Renames of names in a project's code: by what the names mean."""

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


# Code before and after: where they differ, the text is «before|after».
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


def test_name_that_moves_to_another_module_is_imported_from_there(tmp_path: Path) -> None:
    table = {"names": {"app.models.session.LIMIT": "app.core.limits.SESSIONS"}}
    code = "from app.models import session\n\nx = session.LIMIT, session.find\n"
    assert renamed(tmp_path, table, code) == (
        "from app.core.limits import SESSIONS\nfrom app.models import session\n\n"
        "x = SESSIONS, session.find\n"
    )


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
def test_texts_are_renamed_where_a_name_means_one_thing(
    tmp_path: Path, table: dict[str, dict[str, str]], name: str, before: str, after: str
) -> None:
    assert renamed(tmp_path, table, before, name) == after


def test_file_that_is_not_text_stays(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"\xff\xfeMAIL_HOST")
    renamed(tmp_path, SETTING, "")
    assert (tmp_path / "logo.png").read_bytes() == b"\xff\xfeMAIL_HOST"


def test_versions_in_between_are_applied_in_their_order(tmp_path: Path) -> None:
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


def test_attribute_of_an_instance_has_the_class_of_a_later_module(tmp_path: Path) -> None:
    code = """
    from app.models.session import Session

    class Box:
        def __init__(self) -> None:
            self.session = Session()

        def check(self) -> bool:
            return self.session.is_over(1)
    """
    assert "self.session.expired(1)" in renamed(tmp_path, METHOD, code, "app/api.py")
