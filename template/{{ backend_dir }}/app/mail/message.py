"""Messages, rendered from the templates in `templates/`."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from app.core.settings import PROJECT_NAME, Settings
from app.mail.sending import Rejected

TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.globals["project"] = PROJECT_NAME
# A dot-atom (RFC 5322 3.2.3) of at most 64 characters (RFC 5321 4.5.3.1.1), also in other scripts.
LOCAL_PART: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~.-]{1,64}")
DOMAIN: Final = re.compile(r"[A-Za-z0-9.-]+")


def variables_of(recipient: str, **values: str) -> dict[str, str]:
    """Return the variables of a template: those that all templates have, and its own values."""
    return {"email": recipient, "time": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", **values}


def render_message(
    settings: Settings, template: str, recipient: str, values: Mapping[str, str]
) -> EmailMessage:
    """Return a message as text and HTML.

    template: its name; `templates/` has a file `.txt` and a file `.html` of this name. The first
        line of the text is the subject.
    values: the variables of the template.

    Raise `Rejected` if the recipient is no address that mail can be sent to.
    """
    subject, _, text = TEMPLATES.get_template(f"{template}.txt").render(values).partition("\n")
    message = EmailMessage()
    message["From"] = settings.sender
    message["To"] = _address(recipient)
    message["Subject"] = subject.strip()
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=parseaddr(settings.sender)[1].rpartition("@")[2])
    # No mail program responds with a notice of absence (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{text.strip()}\n")
    html = TEMPLATES.get_template(f"{template}.html").render(values, subject=subject.strip())
    message.add_alternative(html, subtype="html")
    return message


def _address(email: str) -> Address:
    """Return exactly one address.

    `EmailMessage` would decode an encoded word (RFC 2047) in the local part, such as one that
    contains a line break, and Python's codec would replace letters of a domain, such as ß by ss.
    The message would then have other headers, or another recipient. Raise `Rejected` for both.
    """
    local, _, domain = email.rpartition("@")
    if not LOCAL_PART.fullmatch(local) or "=?" in local:
        raise Rejected("the part before the @ is not valid")
    try:
        encoded = domain.encode("idna").decode()  # RFC 3490
        same = domain.isascii() or encoded.encode().decode("idna") == domain
    except UnicodeError:
        raise Rejected("the domain is not valid") from None
    if not same or not DOMAIN.fullmatch(encoded):
        raise Rejected("the domain is not valid")
    return Address(username=local, domain=encoded)
