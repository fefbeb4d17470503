from contextlib import nullcontext

import pytest

from app.core.settings import ExplicitSettings
from app.core.smtp_url import SmtpAddress, parse_smtp_url
from tests.conftest import SECRET


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (
            "smtp://ada%40example.com:p%40ss@mail.example.com",
            SmtpAddress("mail.example.com", 587, False, True, "ada@example.com", "p@ss"),
        ),
        (
            "smtps://u:p@mail.example.com",
            SmtpAddress("mail.example.com", 465, True, False, "u", "p"),
        ),
        ("smtp://localhost:1025", SmtpAddress("localhost", 1025, False, False)),
        (
            "smtp://localhost:1025?starttls=always",
            SmtpAddress("localhost", 1025, False, True),
        ),
        ("smtp://relay:25?starttls=never", SmtpAddress("relay", 25, False, False)),
    ],
)
def test_smtp_url_is_read(url: str, address: SmtpAddress) -> None:
    assert parse_smtp_url(url) == address


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://u:hunter2@host", "must begin with smtp:// or smtps://"),
        ("smtp://u:hun/ter2@host", "percent-encode"),
        ("smtp://", "needs a host"),
        ("smtp://u:hunter2@host:port", "is not a URL"),
        ("smtp://u:hunter2@exa..mple", "not a valid name"),
        ("smtp://u:hunter2@host:0", "port 0"),
        ("smtp://u@host", "both a user and a password"),
        ("smtp://u:hunter2@host?tls=1", "one parameter only"),
        ("smtp://u:hunter2@host?starttls=maybe", "one parameter only"),
    ],
)
def test_message_about_an_invalid_smtp_url_contains_no_secret(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_smtp_url(url)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"smtp_url": "smtp://host"}, "is missing; set it to the sender"),
        ({"smtp_url": "smtp://host", "mail_from": "nobody"}, "is not an email address"),
        ({"smtp_url": "smtp://host", "mail_from": "a@bücher.de"}, "ASCII"),
    ],
)
def test_sender_must_be_an_address(values: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExplicitSettings(database_url="postgresql://h/x", jwt_secret=SECRET, **values)


@pytest.mark.parametrize(
    ("environment", "frontend_url", "is_valid"),
    [
        ("production", "http://app.example.com", False),
        ("staging", "http://localhost:5173", False),
        ("production", "https://app.example.com", True),
        ("local", "http://localhost:5173", True),
    ],
)
def test_links_of_a_deployment_lead_to_https(
    environment: str, frontend_url: str, is_valid: bool
) -> None:
    values = {
        "environment": environment,
        "database_url": "postgresql://h/x",
        "jwt_secret": SECRET,
        "smtp_url": "smtp://host",
        "mail_from": "a@example.com",
        "frontend_url": frontend_url,
    }
    with nullcontext() if is_valid else pytest.raises(ValueError, match="https://"):
        ExplicitSettings(**values)
    assert ExplicitSettings(**{**values, "smtp_url": None}).frontend_url == frontend_url
