"""Where the client of a network listens for its nodes.

CLIENT_IP gives the address, and the ports begin at PORT.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable

from fission.core.addresses import host_port, is_ip
from fission.errors import EngineError, UserError
from fission.posix.port_users import by_user_of
from fission.project.config import LoadedNetwork

#: Seconds between two looks whether this machine has got its address; arbitrary.
AGAIN_S = 1.0
#: The sockets that listen there: (kind of socket, port minus PORT).
SOCKETS = ((socket.SOCK_STREAM, 0), (socket.SOCK_DGRAM, 0), (socket.SOCK_STREAM, 1), (socket.SOCK_STREAM, 2))


class NoAddressError(UserError):
    """This machine does not have the address of CLIENT_IP. It may get it later, from DHCP for example."""


def await_address(loaded: LoadedNetwork, notice: Callable[[str], None], again_s: float = AGAIN_S) -> None:
    """Wait until this machine has the address that CLIENT_IP means. Blocks.

    Args:
        loaded: the network.
        notice: called with a text when there is something to wait for.
        again_s: seconds between two looks.

    Raises:
        UserError: CLIENT_IP means no address that could be used.
    """
    said = False
    while True:
        try:
            client_address(loaded)
            return
        except NoAddressError as why:
            if not said:
                said = True
                notice(f"waiting for the address of this machine: {why}")
        time.sleep(again_s)


def client_address(loaded: LoadedNetwork) -> str:
    """Return the address that CLIENT_IP means: the client listens there, and gives it to its nodes.

    Raises:
        NoAddressError: CLIENT_IP is not known, or is not an address of this machine.
        UserError: CLIENT_IP is not set, or means no address that another machine could reach.
    """
    host = loaded.config.client_ip
    where = f"{loaded.name}/config.py"
    if host is None:
        raise UserError(f"{where}: CLIENT_IP must be this machine's address, as the nodes reach it; it is not set")
    must = f"{where}: CLIENT_IP must be an address of this machine, as the nodes reach it"
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError as why:
        raise NoAddressError(f"{must}; the name {host} cannot be resolved here ({why.strerror or why}); write the address itself") from None
    ips = [str(entry[4][0]) for entry in found if not str(entry[4][0]).startswith("fe80:")]
    reasons = {ip: _unusable(ip) for ip in ips}
    here = [ip for ip, reason in reasons.items() if not reason]
    if not here:
        named = "" if is_ip(host) else f", which is {' and '.join(reasons) or 'link-local'} here,"
        raise NoAddressError(f"{must}; {host}{named} is not ({next(iter(reasons.values()), 'it has no other address')})")
    far = [ip for ip in here if not (ip.startswith("127.") or ip == "::1")]
    if not far and not is_ip(host) and host != "localhost":
        # Debian writes 127.0.1.1 into /etc/hosts for a machine's own name
        raise UserError(f"{must}; {host} means {here[0]} here, which no other machine can reach; write the address itself")
    return (far or here)[0]


def _unusable(ip: str) -> str:
    """Return why an address is not this machine's; empty: it is."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((ip, 0))
    except OSError as why:
        if why.errno != errno.EADDRNOTAVAIL:
            raise
        return str(why.strerror)
    return ""


def check_ports(loaded: LoadedNetwork, ip: str) -> None:
    """Check before anything is started that the ports are free.

    Raises:
        EngineError: a port is in use; the text names the network that uses it, if it can be found.
    """
    port = loaded.config.port
    for kind, offset in SOCKETS:
        if kind is socket.SOCK_STREAM and offset == 0 and loaded.config.cluster is not None:
            continue  # the scheduler of another program may be there
        try:
            with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind is socket.SOCK_STREAM))
                probe.bind((ip, port + offset))
        except OverflowError:
            raise EngineError(f"PORT must leave room for two more ports, but is {port}; set another one in config.py") from None
        except OSError as why:
            if why.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            what = "UDP port" if kind is socket.SOCK_DGRAM else "TCP port"
            user = by_user_of(ip, port + offset) if why.errno == errno.EADDRINUSE else ""
            raise EngineError(
                f"cannot listen at {host_port(ip, port + offset)} ({what}): {why.strerror}{user}; give this network another PORT in "
                f"{loaded.name}/config.py, and start services of its nodes with it: fission node --port PORT"
            ) from None
