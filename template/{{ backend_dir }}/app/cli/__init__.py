"""The commands of `python -m app`."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from alembic.util import CommandError as AlembicError
from sqlalchemy.exc import ProgrammingError

from app.cli import database, users
from app.cli.dev import dev
from app.cli.doctor import doctor
from app.cli.errors import CommandError
from app.cli.jobs import jobs, worker
from app.cli.openapi import openapi
from app.cli.psql import psql
from app.cli.reset import reset
from app.cli.seed import seed
from app.cli.serve import serve
from app.cli.shell import shell
from app.core.roles import Role
from app.core.startup import CONFIGURATION_ERROR, ConfigurationError
from app.db.embedded import EmbeddedPostgresError
from app.db.session import DatabaseUnavailable
from app.services.errors import (
    EmailTaken,
    MailNotConfigured,
    UnacceptablePassword,
    UserNotFound,
)

INTERRUPTED: Final = 130  # a shell reports this code for a program that SIGINT ended

FROM_STDIN: Final = "read the password from standard input"

MESSAGES: Final = {
    EmailTaken: "There is a user with this email address already.",
    MailNotConfigured: "The link is sent by mail: set SMTP_URL and MAIL_FROM (docs/mail.md).",
    UserNotFound: "There is no user with this email address.",
}


# SQLSTATEs of a table and of a column that do not exist.
MISSING: Final = ("42P01", "42703")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app", description="Run and administer the backend."
    )
    # Without a command, print the list of commands.
    parser.set_defaults(run=lambda _: parser.exit(CONFIGURATION_ERROR, parser.format_help()))
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    def add(name: str, text: str, **options: Any) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, **options)

    add("dev", "serve with reload on an embedded Postgres").set_defaults(run=lambda _: dev())
    add("serve", "serve in production").set_defaults(run=lambda _: serve())
    parsed = add("worker", "run background jobs")
    parsed.add_argument("--once", action="store_true", help="exit when no job is in the queue")
    parsed.set_defaults(run=lambda args: worker(once=args.once))
    add("migrate", "bring the database up to date").set_defaults(run=lambda _: database.migrate())
    parsed = add("create-user", "create a user")
    parsed.add_argument("email", metavar="EMAIL")
    password = parsed.add_mutually_exclusive_group()
    password.add_argument("--password-stdin", action="store_true", help=FROM_STDIN)
    password.add_argument(
        "--send-link", action="store_true", help="let the user choose a password by a mailed link"
    )
    parsed.set_defaults(
        run=lambda args: users.create_user(
            args.email, from_stdin=args.password_stdin, send_link=args.send_link
        )
    )
    parsed = add("set-password", "change a user's password, and revoke all access")
    parsed.add_argument("email", metavar="EMAIL")
    parsed.add_argument("--password-stdin", action="store_true", help=FROM_STDIN)
    parsed.set_defaults(
        run=lambda args: users.set_password(args.email, from_stdin=args.password_stdin)
    )
    parsed = add("deactivate-user", "prevent a user from signing in, and revoke all access")
    parsed.add_argument("email", metavar="EMAIL")
    parsed.set_defaults(run=lambda args: users.deactivate_user(args.email))
    parsed = add("grant-role", "replace the role of a user")
    parsed.add_argument("email", metavar="EMAIL")
    parsed.add_argument("role", choices=[role.value for role in Role])
    parsed.set_defaults(run=lambda args: users.grant_role(args.email, Role(args.role)))
    parsed = add("end-sessions", "revoke the sessions, tokens and links of a user, or of all users")
    whose = parsed.add_mutually_exclusive_group(required=True)
    whose.add_argument("email", metavar="EMAIL", nargs="?")
    whose.add_argument("--all", action="store_true", help="of all users")
    parsed.set_defaults(run=lambda args: users.end_sessions(args.email))
    add("purge", "delete obsolete rows").set_defaults(run=lambda _: database.purge())
    parsed = add("jobs", "print what is in the job queue")
    parsed.add_argument("--retry", action="store_true", help="let failed jobs run again")
    parsed.set_defaults(run=lambda args: jobs(retry=args.retry))
    add("openapi", "print the OpenAPI document").set_defaults(run=lambda _: openapi())
    add(
        "shell", "open a Python shell with the settings, the models and a session, `db`"
    ).set_defaults(run=lambda _: shell())
    # psql receives all arguments, including options, so this parser must not recognize any "-".
    parsed = add("psql", "open psql on the database", prefix_chars="\0", add_help=False)
    parsed.add_argument("arguments", metavar="ARGS", nargs="*")
    parsed.set_defaults(run=lambda args: psql(args.arguments))
    parsed = add("seed", "add example users to the local database")
    parsed.add_argument(
        "--users", metavar="N", type=int, default=0, help="add N more users, for long lists"
    )
    parsed.set_defaults(run=lambda args: seed(count=args.users))
    parsed = add("reset", "delete the local database and create it again, empty")
    parsed.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parsed.set_defaults(run=lambda args: reset(confirmed=args.yes))
    add("doctor", "check that all is well").set_defaults(run=lambda _: doctor())
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Return the exit code: 0 success, 1 failure, 2 wrong settings or arguments."""
    args = _parser().parse_args(arguments)
    try:
        return int(args.run(args) or 0)
    except tuple(MESSAGES) as error:
        print(MESSAGES[type(error)], file=sys.stderr)
    except ProgrammingError as error:
        print(_explain(error), file=sys.stderr)
    except (
        AlembicError,
        CommandError,
        DatabaseUnavailable,
        EmbeddedPostgresError,
        UnacceptablePassword,
    ) as error:
        print(error, file=sys.stderr)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return CONFIGURATION_ERROR
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. Python would flush again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED
    return 1


def _explain(error: ProgrammingError) -> str:
    cause = error.orig.__cause__ if error.orig else None
    if getattr(cause, "sqlstate", None) in MISSING:
        return "The database is behind this code: run python -m app migrate."
    return f"Postgres: {cause}"
