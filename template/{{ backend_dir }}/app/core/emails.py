"""Email addresses as login names."""

import re
import unicodedata
from typing import NewType

Email = NewType("Email", str)
"""An address as it is stored and compared: trimmed, NFC, lower case all through."""

MAX_LENGTH = 254  # RFC 5321 4.5.3.1.3, less the angle brackets
# Whether mail arrives only a mail can tell; this keeps out what can't be an address or a text.
SHAPE = re.compile(r"[^@\s\x00-\x1f\x7f\ud800-\udfff]+@[^@\s\x00-\x1f\x7f\ud800-\udfff]+")


def normalize_email(text: str) -> Email:
    """Give the one form of an address. Raises `ValueError` for what can't be one."""
    if len(text) > 4 * MAX_LENGTH:  # first: normalising takes quadratic time on crafted texts
        raise ValueError("is not an email address")
    # Lower case can undo NFC (İ), so it comes first, between two foldings of the same thing.
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.strip()).lower())
    if len(folded) > MAX_LENGTH or not SHAPE.fullmatch(folded):
        raise ValueError("is not an email address")
    return Email(folded)
