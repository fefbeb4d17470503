"""Web origins (RFC 6454), as in `CORS_ORIGINS` and in the `Origin` header."""

import re
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\]")


def parse_origin(text: str) -> str:
    """Return an origin as browsers send it: in lower case, without the scheme's default port.

    Raise `ValueError` for anything but scheme, host and port, because a wildcard or `null` would
    let any page act for the user. The message is for the person who set `CORS_ORIGINS`.
    """
    if text == "*" or text.lower() == "null":
        raise ValueError("may not contain * or null; list the exact origins of your frontend")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("contains something that is not an origin") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "*" in parts.netloc:
        raise ValueError("takes exact origins, such as https://app.example.com")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("takes origins without a path or user, such as https://app.example.com")
    host = parts.hostname if ":" not in parts.hostname else f"[{parts.hostname}]"
    if not HOST.fullmatch(host):
        raise ValueError("has a host that is no host name (write non-ASCII ones in punycode)")
    default = port is None or port == DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{host}" if default else f"{parts.scheme}://{host}:{port}"
