"""Addresses of machines, as users write them: IPv4, IPv6 (with or without brackets), host names."""

from __future__ import annotations

import re

#: Labels of letters, digits, hyphens and underscores, as resolvers accept them: RFC 1123, extended by what local names use.
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
#: What the C library accepts as a part of an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_MOST_CHARACTERS = 253  # RFC 1035
BROADCAST = "255.255.255.255"
#: Addresses and names of this machine, for a network that runs on it alone.
LOCALHOST = frozenset({"localhost", "127.0.0.1", "::1"})
MUST = "an IPv4 address, an IPv6 address or a host name"


def canonical(text: str) -> str:
    """Return the canonical form of an address.

    IPv6 loses its brackets and is compressed and lower case; an IPv4-mapped address
    (``::ffff:192.168.4.2``) becomes IPv4. A host name is returned unchanged.
    """
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
    """Return a key that is equal for all forms of an address: host names without case and trailing
    dot.
    """
    return canonical(text).rstrip(".").lower()


def is_ip(text: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address, and not a host name."""
    from ipaddress import ip_address

    try:
        ip_address(canonical(text))
    except ValueError:
        return False
    return True


def kind_of(ip: str) -> str:
    """Return "IPv4" or "IPv6"."""
    return "IPv6" if ":" in ip else "IPv4"


def fault_of(text: str) -> str:
    """Return the fault of a machine's address, to follow "must be ..., but is"; empty if it is
    valid.

    A name that ends in a number is not a host name: 192.168.4.256 and 0x7f000001 are faults.
    """
    if not is_ip(text):
        last = text.rstrip(".").rpartition(".")[2]
        host, colon, port = text.rpartition(":")
        if colon and port.isdecimal() and (is_ip(host) if ":" in host else not fault_of(host)):
            return f"{text!r}, which has a port; write {host} alone, and the port where it has a place of its own (PORT, --port)"
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
    """Return whether a text can be the address of a machine."""
    return not fault_of(text)


def host_port(host: str, port: int | str) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f"{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """Return an IPv6 address in brackets, other addresses unchanged."""
    host = canonical(host)
    return f"[{host}]" if ":" in host else host


def split_host_port(text: str) -> tuple[str, str]:
    """Return (host, port) of ``host:port`` or ``protocol://host:port``, without brackets."""
    host, _, port = text.rpartition("://")[2].rpartition(":")
    return canonical(host), port


def split_port(text: str) -> tuple[str, int] | None:
    """Return host and port of ``HOST:PORT``, ``[IPv6]:PORT`` or ``:PORT``; None if it is none of these.

    The host is without brackets; it is empty if it is left out.
    """
    host, colon, number = text.rpartition(":")
    if not colon or not (number.isascii() and number.isdigit()) or not 0 <= int(number) <= 65535:
        return None
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return None  # an IPv6 address without brackets: its end may be a part of it
    if host and fault_of(host) and not is_any(host):
        return None
    return canonical(host), int(number)


def is_any(host: str) -> bool:
    """Return whether an address stands for all addresses of a machine: 0.0.0.0, or ::."""
    from ipaddress import ip_address

    return is_ip(host) and ip_address(canonical(host)).is_unspecified
