"""Email addresses as login names."""

import re
import unicodedata
from typing import NewType

Email = NewType("Email", str)
"""An address as it is stored and compared: trimmed, in NFC and in lower case."""

MAX_LENGTH = 254  # RFC 5321 4.5.3.1.3, less the angle brackets
# Only a sent mail proves that an address works. This rejects text that cannot be an address.
SHAPE = re.compile(r"[^@\s\x00-\x1f\x7f\ud800-\udfff]+@[^@\s\x00-\x1f\x7f\ud800-\udfff]+")
# Invisible characters, which could make the addresses of two users look the same. The categories
# contain control, format and private-use characters. INVISIBLE contains characters of other
# categories: letters, marks, symbols, and code points that Unicode has not assigned.
INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Co"})
INVISIBLE = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    r"\U000e0000-\U000e0fff]"
)


def normalize_email(text: str) -> Email:
    """Return the normalized form of an address. Raise `ValueError` if it cannot be an address."""
    if len(text) > 4 * MAX_LENGTH:  # normalizing takes quadratic time on crafted texts
        raise ValueError("is not an email address")
    folded = fold(text)
    if len(folded) > MAX_LENGTH or not SHAPE.fullmatch(folded) or _has_invisible(folded):
        raise ValueError("is not an email address")
    return Email(folded)


def fold(text: str) -> str:
    """Return a text, such as the beginning of an address, as it is stored."""
    # Converting to lower case can undo NFC (İ), so normalize before it and after it.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.strip()).lower())


def _has_invisible(text: str) -> bool:
    categories = {unicodedata.category(character) for character in text}
    return bool(categories & INVISIBLE_CATEGORIES or INVISIBLE.search(text))
