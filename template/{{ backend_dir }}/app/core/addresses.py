"""The normalized network address of a client, for rate limits and log lines."""

from ipaddress import IPv6Address, ip_address


def normalize_address(text: str | None) -> str | None:
    """Return an IP address in its standard form, which is IPv4 for an IPv4-mapped IPv6 address.

    Return other text unchanged (the server may listen on a Unix socket), and None for no text.
    """
    try:
        address = ip_address(text or "")
    except ValueError:
        return text or None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)
