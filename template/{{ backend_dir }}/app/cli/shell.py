"""`shell`: a Python prompt with the settings, the models and a database session."""

import ast
import asyncio
import code
import inspect
from types import CodeType, FunctionType
from typing import Any

from sqlalchemy import func, select

import app.main  # noqa: F401 (imports every model)
from app.cli.database import prepare
from app.core.settings import Settings
from app.db.base import Base
from app.db.session import Database, DatabaseUnavailable


class AsyncConsole(code.InteractiveConsole):
    """A console in which `await` works at the top level.

    names: the variables of the prompt. runner: runs everything that is awaited on one event loop.
    """

    def __init__(self, names: dict[str, Any], runner: asyncio.Runner) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self.names = names
        self.runner = runner

    def runcode(self, code: CodeType) -> None:
        """Run one statement, and print the exception that it raises."""
        try:
            result = FunctionType(code, self.names)()
            if inspect.iscoroutine(result):
                self.runner.run(result)
        except SystemExit:
            raise
        except DatabaseUnavailable as error:
            self.write(f"{error}\n")
        except BaseException:  # also Ctrl-C, which ends the statement and not the shell
            self.showtraceback()


def shell() -> None:
    """Open the prompt, connected to the database of the settings."""
    settings = prepare()
    database = Database.from_settings(settings)
    db = database.sessions()
    models = {mapper.class_.__name__: mapper.class_ for mapper in Base.registry.mappers}
    names = models | {"settings": settings, "db": db, "select": select, "func": func}
    _complete(names)
    with asyncio.Runner() as runner:
        try:
            AsyncConsole(names, runner).interact(_banner(settings, sorted(models)), exitmsg="")
        finally:
            runner.run(db.close())
            runner.run(database.close())


def _banner(settings: Settings, models: list[str]) -> str:
    return (
        f"ENVIRONMENT={settings.environment}, {settings.database.place}.\n"
        f"Available: settings, db (a session), select, func, {', '.join(models)}.\n"
        f"Try: (await db.scalars(select({models[-1]}))).all()\n"
        "To save changes: await db.commit(). Ctrl-D ends the shell."
    )


def _complete(names: dict[str, Any]) -> None:
    """Let the tab key complete names, if the platform supports it."""
    try:
        import readline
        import rlcompleter
    except ImportError:
        return
    readline.set_completer(rlcompleter.Completer(names).complete)
    readline.parse_and_bind("tab: complete")
