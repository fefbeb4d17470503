"""The commands of `python -m app`."""

import argparse
import sys
from collections.abc import Sequence

from app.cli.database import migrate
from app.cli.dev import dev
from app.cli.errors import CommandError
from app.cli.openapi import openapi
from app.cli.serve import serve
from app.cli.users import create_user
from app.db.embedded import EmbeddedPostgresError
from app.db.session import DatabaseUnavailable


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app", description="Run and look after the backend."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_text, description=help_text)

    add("dev", "serve with reload on an embedded Postgres").set_defaults(run=lambda _: dev())
    add("serve", "serve in production").set_defaults(run=lambda _: serve())
    add("migrate", "bring the database up to date").set_defaults(run=lambda _: migrate())
    add("openapi", "print the OpenAPI document").set_defaults(run=lambda _: openapi())
    user = add("create-user", "create a user")
    user.add_argument("email", metavar="EMAIL")
    user.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    user.set_defaults(run=lambda args: create_user(args.email, from_stdin=args.password_stdin))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code: 0 done, 1 failed, 2 wrong settings or arguments."""
    args = _parser().parse_args(arguments)
    try:
        return int(args.run(args) or 0)
    except (CommandError, DatabaseUnavailable, EmbeddedPostgresError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
