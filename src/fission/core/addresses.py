"""Addresses of machines, as users write them: IPv4, IPv6 (with or without brackets), host names."""

from __future__ import annotations

import re

#: Labels of letters, digits, hyphens and underscores, as resolvers take them; RFC 1123 and what local names add to it.
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
#: What the C library reads as a part of an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_MOST_CHARACTERS = 253  # RFC 1035
BROADCAST = "255.255.255.255"
#: Addresses and names of this machine, for a network that runs on it alone.
LOCALHOST = frozenset({"localhost", "127.0.0.1", "::1"})
MUST = "an IPv4 address, an IPv6 address or a host name"


def canonical(text: str) -> str:
    """Return the one form of an address: IPv6 without brackets, short and in small letters, or as the IPv4 address that it contains
    (``::ffff:192.168.4.2``). A host name stays as it is."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" not in bare:
        return text
    from ipaddress import ip_address

    try:
        address = ip_address(bare)
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


def same_key(text: str) -> str:
    """Return what two forms of one address have in common: a resolver takes capitals of a host name, and a dot at its end, as nothing."""
    return canonical(text).rstrip(".").lower()


def is_ip(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address, and not a host name."""
    from ipaddress import ip_address

    try:
        ip_address(canonical(text))
    except ValueError:
        return False
    return True


def fault_of(text: str) -> str:
    """Return what is wrong with the address of a machine, to follow "must be ..., but is"; empty: nothing.

    A name that ends in a number is no host name: 192.168.4.256 and 0x7f000001 are mistakes.
    """
    if not is_ip(text):
        last = text.rstrip(".").rpartition(".")[2]
        named = _NUMBER.fullmatch(last) is None and len(text) <= _MOST_CHARACTERS and _HOST_NAME.fullmatch(text) is not None
        return "" if named else repr(text)
    from ipaddress import ip_address

    address = ip_address(canonical(text))
    if address.version == 6 and address.is_link_local:
        return f"{text!r}, a link-local address, which is only valid on one machine's interface; use another one, or a host name"
    if address.is_unspecified or address.is_multicast or str(address) == BROADCAST:
        return f"{text!r}, which is not the address of one machine"
    return ""


def is_host(text: str) -> bool:
    """Whether it can be the address of a machine."""
    return not fault_of(text)


def host_port(host: str, port: int | str) -> str:
    """Return ``host:port``, an IPv6 address in brackets."""
    return f"{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """Return an IPv6 address in brackets, anything else as it is."""
    host = canonical(host)
    return f"[{host}]" if ":" in host else host


def split_host_port(text: str) -> tuple[str, str]:
    """Return (host, port) of ``host:port``, with or without ``protocol://`` before it; the host without brackets."""
    host, _, port = text.rpartition("://")[2].rpartition(":")
    return canonical(host), port
