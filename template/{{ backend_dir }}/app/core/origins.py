"""Web origins (RFC 6454): what `CORS_ORIGINS` holds and the `Origin` header says."""

import re
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\]")


def parse_origin(text: str) -> str:
    """Normalize an origin as browsers send it: lower case, without the scheme's default port.

    Raise `ValueError`, in words for whoever set `CORS_ORIGINS`, for anything but scheme, host and
    port: a wildcard or `null` would let any page act for the user.
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
