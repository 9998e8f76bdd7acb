"""The route from a node to its client: the client's address, and this machine's address towards it.

Both may be unknown when the service starts (at boot, before the network is up), and both may change
(DHCP).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import psutil

from fission.core.addresses import canonical, is_ip, kind_of
from fission.errors import EngineError

Found = TypeVar("Found")

#: Seconds that one of several addresses of the client has to accept a connection; arbitrary.
ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class Route:
    """Two addresses, IPv4 or IPv6, both of one family.

    Attributes:
        client: address of the client.
        own: address of this machine, as the client and the other nodes reach it.
    """

    client: str
    own: str


async def find_route(client: str, port: int, own: str | None, before: Route | None = None) -> Route:
    """Find the route. Cancelling ends the search at once, even if a name server does not answer.

    If the client's name has several addresses, the first one is chosen that accepts a connection.

    Args:
        client: address or host name of the client.
        port: port of the client.
        own: address or name that this machine must use; None: the system's choice.
        before: the last route, which is kept if no address accepts a connection.

    Raises:
        EngineError: there is no route at present; the text says why.
    """
    return await looked_up(lambda: _look(client, port, own, before))


async def looked_up(look: Callable[[], Found]) -> Found:
    """Return what a function returns that may wait for a name server. Cancelling does not wait.

    Raises:
        Exception: what the function raises.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Found] = loop.create_future()

    def done(act: Callable[[], None]) -> None:
        if not found.done():
            act()

    def call() -> None:
        try:
            answer = look()
            act = partial(found.set_result, answer)
        except Exception as why:
            act = partial(found.set_exception, why)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(done, act)

    # not a thread of the loop's executor: asyncio would wait for it at its end
    threading.Thread(target=call, name="fission-lookup", daemon=True).start()
    return await found


def is_own(ip: str) -> bool:
    """Return whether this machine has the address now."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True


def _look(client: str, port: int, own: str | None, before: Route | None) -> Route:
    routes = _routes(client, port, own)
    if len(routes) == 1:
        return routes[0]
    for route in routes:
        with contextlib.suppress(OSError), socket.create_connection((route.client, port), ANSWER_S):
            return route
    return before if before in routes else routes[0]


def _routes(client: str, port: int, own: str | None) -> list[Route]:
    wanted = None if own is None else _own_addresses(own)
    routes, reason = [], "it has no address"
    for family, _, _, _, address in _resolved(client, port):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(address)  # a datagram socket: nothing is sent
                ip = str(probe.getsockname()[0])
        except OSError as why:
            reason = (why.strerror or str(why)).lower() + _other_kind(str(address[0]))
            continue
        if wanted is None:
            routes.append(Route(str(address[0]), ip))
            continue
        same = [ip for ip in wanted if (":" in ip) == (":" in address[0])]
        if same:
            routes.append(Route(str(address[0]), same[0]))
        reason = f"--ip {own} is of a different kind (IPv4, IPv6) from the client's address {address[0]}"
    if not routes:
        raise EngineError(reason)
    return routes


def _other_kind(client: str) -> str:
    """Return more about the reason if this machine has addresses only of the kind that the client's is not; else empty."""
    kinds = set()
    for entry in (entry for entries in psutil.net_if_addrs().values() for entry in entries):
        ip = entry.address.partition("%")[0]
        if entry.family in (socket.AF_INET, socket.AF_INET6) and not ip.startswith(("127.", "fe80:")) and ip != "::1":
            kinds.add(kind_of(ip))
    if not kinds or kind_of(client) in kinds:
        return ""
    return (
        f": its address {client} is {kind_of(client)}, but this machine has {kinds.pop()} addresses only; "
        "give both machines addresses of one kind"
    )


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
