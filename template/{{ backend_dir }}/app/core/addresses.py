"""The client's network address, in the one form that limits and log lines use."""

from ipaddress import IPv6Address, ip_address


def normalize_address(text: str | None) -> str | None:
    """Return an IP address in its standard form, and an IPv4 address that IPv6 maps as IPv4.

    Returns other text unchanged (the server may listen on a Unix socket), and None for no text.
    """
    try:
        address = ip_address(text or "")
    except ValueError:
        return text or None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)
