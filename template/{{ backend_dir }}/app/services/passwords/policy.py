"""The rules for new passwords (NIST SP 800-63B-4)."""

import unicodedata

from app.core.emails import Email
from app.core.security import MAX_LENGTH
from app.core.settings import PROJECT_NAME, PROJECT_SLUG, Settings
from app.services.errors import UnacceptablePassword

# The most common passwords of at least 8 characters. Other checks find sequences and repetitions.
COMMON_TEXT = """
    1q2w3e4r 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx 1qaz2wsx3edc 1qaz2wsx3edc4rfv administrator
    changeme correcthorsebatterystaple iloveyou iloveyouforever letmein1 letmeinletmein
    passw0rd password1 password12 password123 password1234 password12345 password123456
    password1234567 password12345678 password123456789 princess q1w2e3r4 q1w2e3r4t5
    q1w2e3r4t5y6 qazwsxedc qazwsxedcrfvtgb qwer1234 qwerty123 qwerty123456789 sunshine superman
    thequickbrownfox trustno1 welcome1 zaq12wsx
"""
COMMON = frozenset(COMMON_TEXT.split())
RUNS = ("01234567890123456789", "qwertyuiopasdfghjklzxcvbnm", "abcdefghijklmnopqrstuvwxyz")


def check_password(settings: Settings, email: Email, password: str) -> None:
    """Raise `UnacceptablePassword` for a new password that breaks a rule."""
    if problem := find_problem(password, email, settings.password_min_length):
        raise UnacceptablePassword(problem)


def find_problem(password: str, email: Email, min_length: int) -> str | None:
    """Return what is wrong with a new password, in a sentence that never quotes it, or None.

    min_length: in characters.
    """
    if len(password) < min_length:
        return f"The password needs at least {min_length} characters."
    if len(password) > MAX_LENGTH:
        return f"The password may have {MAX_LENGTH} characters at most."
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in password):
        return "The password contains what is not text."
    folded = unicodedata.normalize("NFKC", password).casefold()
    plain = "".join(folded.split())
    if plain in (
        email,
        email.partition("@")[0],
        PROJECT_SLUG,
        "".join(PROJECT_NAME.casefold().split()),
    ):
        return "The password may not be the email address or the name of this application."
    if plain in COMMON or _is_repetition(plain) or any(plain in run * 2 for run in RUNS):
        return "The password is one of the commonest; choose another."
    return None


def _is_repetition(text: str) -> bool:
    """Return whether a text repeats a shorter one: `passwordpassword`, `aaaaaaaa`, `12341234`."""
    # No list of common passwords has longer repetitions, or repetitions in other scripts.
    return len(text) <= 24 and text.isascii() and text in (text + text)[1:-1]
