"""Where the page listens: this machine alone, or an address of the network; and by which names it is reached."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from fission.core.addresses import bracketed, canonical, is_any, is_ip
from fission.errors import UserError
from fission.posix.port_users import by_user_of

#: Names and addresses of this machine that need no network.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Listening:
    """A socket of the page.

    Attributes:
        listener: listens already.
        host: as the user has written it, without brackets.
        port: of the socket.
    """

    listener: socket.socket
    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return ip_address(self.listener.getsockname()[0].partition("%")[0]).is_loopback

    def names(self) -> list[str]:
        """Return the host names and addresses under which the page may be opened."""
        if self.is_local:
            return list(LOOPBACK)
        return sorted({*LOOPBACK, *_own_names(), *_own_addresses(), *([self.host] if not is_any(self.host) else [])})

    @property
    def shown(self) -> str:
        """The host for an address that is printed."""
        host = self.host
        if is_any(host):
            versions = (4, 6) if ":" not in host else (6, 4)
            addresses = [ip_address(text) for text in _own_addresses()]
            outside = [one for one in addresses if not one.is_loopback and not one.is_link_local]
            host = next((str(one) for version in versions for one in outside if one.version == version), LOOPBACK[1])
        return bracketed(host)


def listen(host: str, port: int, most_connections: int, choose: str) -> Listening:
    """Return a listening socket.

    Args:
        host: an address or a name of this machine; 0.0.0.0 or :: for all of its addresses.
        port: 0 for a free one.
        most_connections: that may wait to be accepted.
        choose: where the user chooses another port, for the message.

    Raises:
        UserError: the address is in use, or not one of this machine.
    """
    host = canonical(host)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # [::] takes IPv4 as well
            listener.bind(address)
            listener.listen(most_connections)
        except BaseException:
            listener.close()
            raise
    except (OSError, UnicodeError) as why:
        reason = getattr(why, "strerror", None) or str(why)
        if getattr(why, "errno", None) == errno.EADDRINUSE:
            reason += by_user_of(str(address[0]), port)
        raise UserError(f"the page cannot be served at {host}, port {port}: {reason}; choose another one with {choose}") from None
    listener.setblocking(False)
    return Listening(listener, host, listener.getsockname()[1])


def _own_names() -> Iterator[str]:
    for name in (socket.gethostname(), socket.getfqdn()):
        with contextlib.suppress(UnicodeError):
            if name and name.isascii() and not is_ip(name) and len(name) <= 253:
                yield name.lower()


def _own_addresses() -> Iterator[str]:
    import psutil

    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family in (socket.AF_INET, socket.AF_INET6):
                yield canonical(one.address.partition("%")[0])
