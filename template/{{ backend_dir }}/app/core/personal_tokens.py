"""Personal access tokens: their format, and what they allow.

A token is `<slug>_pat_`, 256 random bits and a checksum, both in hexadecimal. A secret scanner can
find tokens by the prefix, and the checksum tells them from similar text without a request. The
checksum is not secret: it is the CRC-32 of everything before it.
"""

import re
import secrets
import zlib
from enum import StrEnum
from typing import Final

from app.core.settings import PROJECT_SLUG
from app.core.tokens import RawToken

PREFIX: Final = f"{PROJECT_SLUG}_pat_"
PERSONAL_TOKEN: Final = re.compile(rf"{PREFIX}[0-9a-f]{{64}}[0-9a-f]{{8}}")
CHECKSUM_LENGTH: Final = 8


class Scope(StrEnum):
    """What a token allows: requests that only read, or those that change something."""

    READ = "read"
    WRITE = "write"


def generate_personal_token() -> RawToken:
    """Return a new token."""
    text = f"{PREFIX}{secrets.token_hex(32)}"
    return RawToken(text + _checksum(text))


def parse_personal_token(text: str) -> RawToken | None:
    """Return a text as a token, or None if it is not well-formed or the checksum is wrong."""
    if not PERSONAL_TOKEN.fullmatch(text):
        return None
    if _checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return RawToken(text)


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
