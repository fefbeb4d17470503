"""The command `template-update`."""

import argparse
import io
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from template_update.errors import UpdateError, UpToDate
from template_update.git import GitError
from template_update.project import Project, environment
from template_update.update import Request, Update, prepared

CONFLICTS: Final = 3
EPILOG: Final = "Exit codes: 0 success, 1 error, 2 wrong usage, 3 conflicts that you must resolve."


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="template-update",
        description="Update a project to the newest version of the template it was made from. "
        "The result is a branch; your work tree stays as it is.",
        epilog=EPILOG,
    )
    parser.add_argument("--preview", action="store_true", help="only print what would change")
    parser.add_argument("--check", action="store_true", help="install and check the result")
    parser.add_argument("--to", metavar="VERSION", help="update to this version, not the newest")
    parser.add_argument(
        "--from",
        metavar="VERSION",
        dest="origin",
        help="the project's version, if the one in .copier-answers.yml does not exist",
    )
    parser.add_argument(
        "--data",
        metavar="NAME=ANSWER",
        action="append",
        default=[],
        type=_answer,
        help="answer a question; can be repeated",
    )
    parser.add_argument("--report", metavar="FILE", type=Path, help="write the report here, too")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    asked = parser().parse_args(arguments)
    # Exit in the same way as for Ctrl-C, so that the temporary work tree is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for a terminal that is not UTF-8
    request = Request(asked.to, asked.origin, dict(asked.data))
    try:
        project = Project.find(Path.cwd())
        if asked.check:
            _require_make()
        with prepared(project, request) as update:
            report = update.report.markdown()
            print(report, flush=True)
            if asked.report:
                _write(asked.report, report)
            if asked.preview:
                print("This was a preview: nothing has changed.")
                return CONFLICTS if update.has_conflicts else 0
            return _finish(update, project, check=asked.check)
    except UpToDate as message:
        print(message)
        return 0
    except UpdateError as error:
        print(f"template-update: {error}", file=sys.stderr)
    except GitError as error:
        print(
            f"template-update: git failed, and your work tree has not changed: {error}",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        print("template-update: interrupted; your work tree has not changed.", file=sys.stderr)
    return 1


def _require_make() -> None:
    if not shutil.which("make"):
        raise UpdateError("--check runs make, which is not installed: update without --check.")


def _write(file: Path, report: str) -> None:
    try:
        file.write_text(report, encoding="utf-8")
    except OSError as error:
        raise UpdateError(f"The report cannot be written to {file}: {error.strerror}.") from error


def _finish(update: Update, project: Project, *, check: bool) -> int:
    branch = update.branch
    where = "" if project.backend == project.folder else ", in backend/"
    if update.has_conflicts or check:
        folder = update.move_beside_the_project()
    update.keep()
    if update.has_conflicts:
        quoted = shlex.quote(str(folder))
        print(
            f"Conflicts are left. Resolve them in {folder}, where the branch {branch} is checked "
            f"out:\n\n    cd {quoted}\n    git status\n    # edit the files, then\n"
            f"    git add --all\n    git commit\n\nThen go back to your own work tree{where}:\n\n"
            f"    git worktree remove {quoted}\n{_steps(update)}"
        )
        return CONFLICTS
    if check:
        if not _check(update):
            print(
                f"The check failed. The update is in {folder}, where the branch {branch} is "
                f"checked out: continue there, and commit.",
                file=sys.stderr,
            )
            return 1
        update.remove_work_tree()
    print(
        f"The update is on the branch {branch}. Your work tree has not changed. "
        f"To apply it, run{where}:\n\n"
        f"{_steps(update, checked=check)}"
    )
    return 0


def _steps(update: Update, *, checked: bool = False) -> str:
    """Return the commands that apply the update, indented."""
    commands = [f"git merge {update.branch}", "make install"]
    if not checked:
        if update.report.needs_migration:
            commands += ["make migrate", 'make migration m="…"']
        commands.append("make check")
    return "".join(f"    {command}\n" for command in commands).rstrip()


def _check(update: Update) -> bool:
    """Run the remaining commands in the work tree of the update. Return whether all succeeded."""
    migration = [["make", "migrate"], ["make", "migration", "m=update the template"]]
    commands = [
        ["make", "install"],
        *(migration if update.report.needs_migration else []),
        ["make", "check"],
    ]
    for command in commands:
        print(f"$ {' '.join(command)}", flush=True)
        if subprocess.run(command, cwd=update.backend, env=environment()).returncode:
            return False
    update.commit_all("Migrate the template's models and lock its dependencies")
    return True


def _answer(text: str) -> tuple[str, str]:
    name, separator, answer = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=ANSWER")
    return name, answer


if __name__ == "__main__":
    sys.exit(main())
