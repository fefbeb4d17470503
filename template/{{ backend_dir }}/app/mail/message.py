"""Messages, rendered from the templates in `templates/`."""

import re
from collections.abc import Mapping
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
DOMAIN: Final = re.compile(r"[A-Za-z0-9.-]+")


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
    """Return exactly one address: a comma, for example, is quoted before the @, and rejected after.

    A domain in another script becomes ASCII (RFC 5891).
    """
    local, _, domain = email.rpartition("@")
    try:
        domain = domain.encode("idna").decode()
    except UnicodeError:
        domain = ""
    if not DOMAIN.fullmatch(domain):
        raise Rejected("the domain is not valid")
    return Address(username=local, domain=domain)
