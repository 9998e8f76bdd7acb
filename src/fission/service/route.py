"""The route from a node to its client: the client's address, and this machine's address towards it.

Both may be unknown when the service starts (at boot, before the network is up), and both may change
(DHCP).
"""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import dataclass
from typing import Any

from fission.core.addresses import canonical, is_ip
from fission.errors import EngineError


@dataclass(frozen=True, slots=True)
class Route:
    """Two addresses, IPv4 or IPv6, both of one family.

    Attributes:
        client: address of the client.
        own: address of this machine, as the client and the other nodes reach it.
    """

    client: str
    own: str


async def find_route(client: str, port: int, own: str | None) -> Route:
    """Find the route. Cancelling ends the search at once, even if a name server does not answer.

    Args:
        client: address or host name of the client.
        port: port of the client.
        own: address or name that this machine must use; None: the system's choice.

    Raises:
        EngineError: there is no route at present; the text says why.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Route] = loop.create_future()

    def done(route: Route | None, why: Exception | None) -> None:
        if found.done():
            return
        if route is not None:
            found.set_result(route)
        elif why is not None:
            found.set_exception(why)

    def look() -> None:
        route, error = None, None
        try:
            route = _look(client, port, own)
        except Exception as why:
            error = why
        if not loop.is_closed():
            loop.call_soon_threadsafe(done, route, error)

    # not a thread of the loop's executor: asyncio would wait for it at its end
    threading.Thread(target=look, name="fission-route", daemon=True).start()
    return await found


def is_own(ip: str) -> bool:
    """Return whether this machine has the address now."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True


def _look(client: str, port: int, own: str | None) -> Route:
    wanted = None if own is None else _own_addresses(own)
    reason = "it has no address"
    for family, _, _, _, address in _resolved(client, port):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(address)  # a datagram socket: nothing is sent
                ip = str(probe.getsockname()[0])
        except OSError as why:
            reason = (why.strerror or str(why)).lower()
            continue
        if wanted is None:
            return Route(str(address[0]), ip)
        same = [ip for ip in wanted if (":" in ip) == (":" in address[0])]
        if same:
            return Route(str(address[0]), same[0])
        reason = f"--ip {own} is of a different kind (IPv4, IPv6) from the client's address {address[0]}"
    raise EngineError(reason)


def _own_addresses(own: str) -> list[str]:
    found = [str(entry[4][0]) for entry in _resolved(own, 0)]
    here = [ip for ip in found if is_own(ip)]
    if not here:
        raise EngineError(f"this machine does not have the address {own} (--ip)")
    return here


def _resolved(host: str, port: int) -> list[Any]:
    host = canonical(host)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST if is_ip(host) else 0)
    except OSError as why:
        raise EngineError(f"the name {host} is not known: {(why.strerror or str(why)).lower()}") from None
    # link-local addresses need an interface of one machine, but the client passes this one on to others
    return [entry for entry in found if not str(entry[4][0]).startswith("fe80:")]
