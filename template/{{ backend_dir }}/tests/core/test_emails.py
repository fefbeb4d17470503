import pytest

from app.core.emails import normalize_email


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("ada@example.com", "ada@example.com"),
        ("  Ada@EXAMPLE.com\n", "ada@example.com"),
        ("E\u0301lan@example.com", "élan@example.com"),
        ("İ@example.com", "i̇@example.com"),
        ("ada+tag@sub.example.co.uk", "ada+tag@sub.example.co.uk"),
    ],
)
def test_email_is_normalized_to_one_form(text: str, email: str) -> None:
    assert normalize_email(text) == email
    assert normalize_email(email) == email


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ada",
        "ada@",
        "@example.com",
        "a@b@c",
        "a b@c",
        "nul\0@c",
        "\ud800@c",
        "a" * 255 + "@c",
        "ada\u200b@example.com",  # zero width space
        "ada\u00ad@example.com",  # soft hyphen
        "\u202eada@example.com",  # right-to-left override
        "ada@exam\u2060ple.com",  # word joiner
        "\ufeffada@example.com",  # byte order mark
        "ada\x85b@example.com",  # a C1 control
        "ada\u3164@example.com",  # Hangul filler, which is a letter
        "ada\ufe0f@example.com",  # variation selector
        "ada\U000e0041@example.com",  # tag
    ],
)
def test_invalid_email_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="is not an email address"):
        normalize_email(text)
