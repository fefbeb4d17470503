"""The command `doctor`, which checks the installation, the settings and the database."""

import asyncio
import ssl

import aiosmtplib
from alembic.util import CommandError as AlembicError
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from app.core.security import BrokenPasslib, PasswordHasher
from app.core.settings import Settings
from app.core.smtp_url import SmtpAddress
from app.core.startup import (
    DEPRECATED_SIGNUP,
    ConfigurationError,
    load_settings,
    misspelled_names,
)
from app.db.embedded import EmbeddedPostgresError
from app.db.local import use_local_database
from app.db.revisions import Revisions, is_up_to_date
from app.db.schema_check import find_schema_mismatch
from app.db.session import Database, DatabaseUnavailable, create_migration_engine
from app.jobs.queue import read_backlog
from app.mail.sending import check_server

# A worker that runs takes a job within a second.
LATE_SECONDS = 300


def doctor() -> int:
    """Check settings, password hashing, proxy trust, databases and migrations.

    Print a line for each. Return the exit code, which is 1 if anything is wrong.
    """
    problems = [_check_hashing()]
    try:
        use_local_database()
        settings = load_settings()
    except (ConfigurationError, EmbeddedPostgresError) as error:
        for line in str(error).splitlines():
            _report("settings", line)
        return 1
    _report("settings", None, f"ENVIRONMENT={settings.environment}")
    for line in misspelled_names():
        print(f"hint   settings: {line}")
    if settings.signup_enabled:
        print(f"hint   settings: {DEPRECATED_SIGNUP}")
    _tell_proxy_trust(settings)
    if note := settings.database.note:
        _report("database URL", None, note)
    problems.append(asyncio.run(_check_database(settings)))
    if settings.smtp:
        problems.append(asyncio.run(_check_mail(settings.smtp)))
    if settings.environment == "local" and not problems[-1]:
        problems.append(_check_agreement(settings))
    if settings.migration_database_url not in (None, settings.database_url):
        problems.append(asyncio.run(_check_migration_database(settings)))
    return int(any(problems))


def _check_hashing() -> bool:
    try:
        PasswordHasher.check_installation()
    except BrokenPasslib as error:
        return _report("password hashing", str(error))
    return _report("password hashing", None, "bcrypt_sha256")


def _tell_proxy_trust(settings: Settings) -> None:
    trusted = f"only {', '.join(settings.forwarded_allow_ips)} may name clients"
    untouched = "forwarded_allow_ips" not in settings.model_fields_set
    if untouched and settings.environment in ("staging", "production"):
        hint = "a proxy elsewhere is not trusted: add its address to FORWARDED_ALLOW_IPS"
        print(f"hint   proxy trust: {trusted}; {hint}")
    else:
        _report("proxy trust", None, trusted)


async def _check_database(settings: Settings) -> bool:
    database = Database.from_settings(settings)
    jobs_are_wrong = False
    try:
        up_to_date = await is_up_to_date(database.reads, Revisions.load())
        if up_to_date:
            jobs_are_wrong = await _check_jobs(database, settings.jobs_poll_seconds or 0)
    except (DatabaseUnavailable, SQLAlchemyError, TimeoutError) as error:
        return _report("database", _first_line(error))
    finally:
        await database.close()
    _report("database", None, "answers")
    if settings.environment == "local":
        return jobs_are_wrong  # find_schema_mismatch reports more
    behind = None if up_to_date else "behind this code; run: python -m app migrate"
    return _report("migrations", behind, "up to date") or jobs_are_wrong


async def _check_jobs(database: Database, poll_seconds: float) -> bool:
    try:
        async with database.reads.connect() as connection:
            backlog = await read_backlog(connection)
    except ProgrammingError:
        return _report("jobs", "the queue has no tables; run: python -m app migrate")
    if backlog.dead_letters:
        print(f"hint   jobs: {backlog.dead_letters} have failed too often; see docs/jobs.md")
    waiting = f"{backlog.waiting} wait, the oldest for {backlog.oldest_seconds:.0f} seconds"
    late = backlog.oldest_seconds > poll_seconds + LATE_SECONDS
    return _report("jobs", f"{waiting}; does a worker run?" if late else None, waiting)


def _check_agreement(settings: Settings) -> bool:
    """Compare models and database. Only for development: a deployment's schema may be newer."""
    try:
        problem = find_schema_mismatch(settings)
    except AlembicError as error:
        problem = _first_line(error)
    return _report("migrations", problem, "up to date, and the models agree")


async def _check_migration_database(settings: Settings) -> bool:
    engine = create_migration_engine(settings)
    try:
        async with engine.connect():
            return _report("migration database", None, "answers")
    except (DatabaseUnavailable, SQLAlchemyError, TimeoutError) as error:
        return _report("migration database", _first_line(error))
    finally:
        await engine.dispose()


async def _check_mail(address: SmtpAddress) -> bool:
    where = f"SMTP_URL ({address.host}:{address.port})"
    try:
        await check_server(address)
    except (aiosmtplib.SMTPException, OSError, ssl.SSLError) as error:
        return _report("mail", f"{where}: {_first_line(error)}")
    return _report("mail", None, f"{where} answers")


def _first_line(error: Exception) -> str:
    return f"{error or type(error).__name__}".splitlines()[0]


def _report(what: str, problem: str | None, detail: str = "") -> bool:
    print(f"{'wrong' if problem else 'ok':5}  {what}: {problem or detail}")
    return problem is not None
