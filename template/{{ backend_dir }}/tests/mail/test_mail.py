"""Messages: their text, how they are sent over SMTP, and what happens if that fails."""

from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from jinja2 import UndefinedError
from markupsafe import escape

from app.core.settings import PROJECT_NAME, ExplicitSettings
from app.jobs.queue import enqueue
from app.mail.job import SendMail
from app.mail.message import TEMPLATES, render_message
from app.mail.sending import Rejected, check_server, send
from app.services.notices import notify
from app.worker import runner
from tests.conftest import (
    PASSWORD,
    SECRET,
    AppFactory,
    ClientFactory,
    add_user,
    advance_time,
    cookie,
    log_in,
    run_jobs,
    set_cookie,
)
from tests.mailbox import Mailbox

SENDER = "Example <no-reply@example.com>"
NEW_PASSWORD = "another long passphrase"
VALUES = {
    "email": "ada@example.com",
    "time": "2026-01-01 12:00 UTC",
    "link": "https://app.example.com/x",
}


def settings_for_mail(url: str | None, environment: str = "test") -> ExplicitSettings:
    """Return settings that send to a server."""
    return ExplicitSettings(
        environment=environment,
        database_url="postgresql://127.0.0.1/x",
        jwt_secret=SECRET,
        smtp_url=url,
        mail_from=SENDER,
    )


def text_of(message: EmailMessage) -> str:
    """Return the text of a message."""
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


@pytest.mark.parametrize(
    "template", sorted({Path(it).stem for it in TEMPLATES.list_templates()} - {"layout"})
)
def test_each_template_has_a_subject_a_text_and_html(template: str) -> None:
    message = render_message(settings_for_mail(None), template, "ada@example.com", VALUES)

    assert PROJECT_NAME in message["Subject"]
    html = message.get_body(("html",))
    assert html is not None
    assert escape(message["Subject"]) in html.get_content()
    for text in (text_of(message), html.get_content()):
        assert "ada@example.com" in text or "https://app.example.com/x" in text


def test_values_are_escaped_in_html_only() -> None:
    message = render_message(
        settings_for_mail(None), "password_changed", "ada@example.com", VALUES | {"email": "<b>"}
    )

    html = message.get_body(("html",))
    assert html is not None
    assert "&lt;b&gt;" in html.get_content()
    assert "<b>" in text_of(message)


def test_message_without_a_value_of_its_template_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="link"):
        render_message(settings_for_mail(None), "reset", "ada@example.com", {})


@pytest.mark.parametrize(
    "local",
    [
        "a,b",
        "a b",
        "a\r\nBcc: eve@example.com",
        "=?utf-8?q?a=0d=0abcc:_eve=40example.com=0d=0a?=",
        "=?utf-8?q?eve=40evil.example=2c?=",
        r"=?unicode_escape?q?=5cud800?=",
        "a" * 65,
        "",
    ],
)
def test_local_part_that_could_change_the_message_is_rejected(local: str) -> None:
    with pytest.raises(Rejected, match="before the @"):
        render_message(settings_for_mail(None), "password_changed", f"{local}@b.example", VALUES)


@pytest.mark.parametrize(
    "domain", ["straße.example", "ｇmail.example", "ⓖmail.example", "gmail。example"]
)
def test_domain_that_would_become_another_one_is_rejected(domain: str) -> None:
    with pytest.raises(Rejected, match="domain"):
        render_message(settings_for_mail(None), "password_changed", f"ada@{domain}", VALUES)


async def test_address_that_the_server_does_not_support_is_rejected(mailbox: Mailbox) -> None:
    settings = settings_for_mail(mailbox.url)
    message = render_message(settings, "password_changed", "jürgen@example.com", VALUES)
    with pytest.raises(Rejected, match="not ASCII"):
        await send(settings, message)


async def test_message_arrives(mailbox: Mailbox) -> None:
    box, url = mailbox, mailbox.url
    settings = settings_for_mail(url)

    assert settings.smtp is not None
    await check_server(settings.smtp)
    await send(settings, render_message(settings, "password_changed", "ada@example.com", VALUES))

    (message,) = box.messages
    assert message["From"] == SENDER
    assert message["To"] == "ada@example.com"
    assert message["Message-ID"].endswith("@example.com>")
    assert message["Auto-Submitted"] == "auto-generated"


async def test_refused_recipient_is_not_tried_again(
    make_app: AppFactory, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    box, url = mailbox, mailbox.url
    box.refusal = "550 no such user"
    settings = settings_for_mail(url)
    with pytest.raises(Rejected, match="responded with 550"):
        await send(settings, render_message(settings, "password_changed", "a@b.example", VALUES))

    async with make_app(smtp_url=url, mail_from=SENDER) as app:
        await add_message(app)
        await run_jobs(app)

    assert "mail_rejected" in caplog.text
    assert "no such user" not in caplog.text  # servers repeat the address in the text
    assert box.messages == []


async def test_recipient_that_is_refused_for_now_is_tried_again(
    make_app: AppFactory,
    mailbox: Mailbox,
    db: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "POLL", timedelta(seconds=0.01))
    mailbox.refusal = "450 ada@example.com is full"
    async with make_app(smtp_url=mailbox.url, mail_from=SENDER) as app:
        await add_message(app)
        await run_jobs(app)
        assert "responded with 450" in caplog.text
        assert "is full" not in caplog.text

        mailbox.refusal = None
        await db.execute("UPDATE pgqueuer.pgqueuer SET execute_after = now()")
        await run_jobs(app)
    assert mailbox.recipients == ["ada@example.com"]


@pytest.mark.parametrize(
    "recipient", ["ada@example.com,eve.example", "ada@example.com>", "ada@b;c", "ada@."]
)
def test_domain_that_is_none_is_rejected(recipient: str) -> None:
    with pytest.raises(Rejected, match="domain"):
        render_message(settings_for_mail(None), "password_changed", recipient, VALUES)


async def test_domain_in_another_script_becomes_ascii(mailbox: Mailbox) -> None:
    box, url = mailbox, mailbox.url
    settings = settings_for_mail(url)

    await send(settings, render_message(settings, "password_changed", "ada@bücher.de", VALUES))

    assert box.recipients == ["ada@xn--bcher-kva.de"]


async def test_message_that_is_not_accepted_is_sent_again(
    make_app: AppFactory, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, url = mailbox, mailbox.url
    box.responses = ["451 try again later", "554 daily quota exceeded"]
    monkeypatch.setattr(runner, "pause_after", lambda _: timedelta())
    monkeypatch.setattr(runner, "POLL", timedelta(seconds=0.01))
    async with make_app(smtp_url=url, mail_from=SENDER) as app:
        await add_message(app)
        await run_jobs(app)

    assert len(box.messages) == 1


async def test_message_waits_until_the_server_can_be_reached(
    make_app: AppFactory,
    db: asyncpg.Connection,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "POLL", timedelta(seconds=0.01))
    box, url = mailbox, mailbox.url
    async with make_app(smtp_url="smtp://127.0.0.1:1", mail_from=SENDER) as app:
        await add_message(app)
        await run_jobs(app)
    assert await db.fetchval("SELECT status::text FROM pgqueuer.pgqueuer") == "queued"
    await db.execute("UPDATE pgqueuer.pgqueuer SET execute_after = now()")

    async with make_app(smtp_url=url, mail_from=SENDER) as app:
        await run_jobs(app)
    assert len(box.messages) == 1


async def add_message(app: FastAPI) -> None:
    """Enqueue a message."""
    async with app.state.database.sessions.begin() as db:
        job = SendMail(template="password_changed", recipient="ada@example.com", values=VALUES)
        await enqueue(db, job)


async def test_user_is_told_that_the_password_was_changed(
    mailing_app: FastAPI, make_client: ClientFactory, mailbox: Mailbox
) -> None:
    await add_user(mailing_app, "ada@example.com")
    client = make_client(mailing_app)
    await log_in(client, "ada@example.com")
    body = {"current_password": "wrong", "new_password": NEW_PASSWORD}
    assert (await client.put("/api/v1/users/me/password", json=body)).status_code == 422
    body["current_password"] = PASSWORD
    assert (await client.put("/api/v1/users/me/password", json=body)).status_code == 204
    await run_jobs(mailing_app)

    (message,) = mailbox.messages
    assert message["Subject"] == f"Your password for {PROJECT_NAME} was changed"
    assert NEW_PASSWORD not in text_of(message)


async def test_user_is_told_that_a_refresh_token_was_used_twice(
    mailing_app: FastAPI,
    make_client: ClientFactory,
    mailbox: Mailbox,
    db: asyncpg.Connection,
) -> None:
    await add_user(mailing_app, "ada@example.com")
    client = make_client(mailing_app)
    await log_in(client, "ada@example.com")
    stolen = cookie(client, "refresh")
    assert (await client.post("/api/v1/auth/refresh")).status_code == 204
    await advance_time(db, 60)
    set_cookie(client, "refresh", stolen)
    assert (await client.post("/api/v1/auth/refresh")).status_code == 401
    await run_jobs(mailing_app)

    (message,) = mailbox.messages
    assert message["Subject"] == f"You have been signed out of {PROJECT_NAME} on one device"
    assert stolen not in text_of(message)


async def test_address_receives_a_few_notices_an_hour(
    mailing_app: FastAPI, db: asyncpg.Connection
) -> None:
    settings = mailing_app.state.settings
    for template in ["password_changed"] * 12 + ["account_deleted"] * 3:
        async with mailing_app.state.database.sessions.begin() as session:
            await notify(session, settings, "ada@example.com", template)
    count = "SELECT count(*) FROM pgqueuer.pgqueuer WHERE convert_from(payload, 'utf8') LIKE $1"
    assert await db.fetchval(count, "%password_changed%") == 10
    assert await db.fetchval(count, "%account_deleted%") == 3


async def test_without_an_smtp_server_nothing_is_enqueued(
    signed_in: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await signed_in.put("/api/v1/users/me/password", json=body)).status_code == 204

    assert await db.fetchval("SELECT count(*) FROM pgqueuer.pgqueuer") == 0


async def test_developers_machine_keeps_messages_as_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_for_mail(None, "local")

    for recipient in ("ada@example.com", "../bob@example.com"):
        await send(settings, render_message(settings, "password_changed", recipient, VALUES))

    assert {it.suffix for it in (tmp_path / ".mail").iterdir()} == {".eml"}
    assert len(list((tmp_path / ".mail").iterdir())) == 2
    out = capsys.readouterr().out
    assert "To: ada@example.com" in out
    assert "password of your account ada@example.com was changed" in out
