"""Notices that the address of the client's machine changes while a network runs."""

from __future__ import annotations

import asyncio

from fission.client.run.engines.listening import client_address
from fission.core.addresses import is_ip
from fission.errors import EngineError, UserError
from fission.ports import Observer
from fission.project.config import LoadedNetwork
from fission.service.route import is_own, looked_up

#: Seconds between two checks; arbitrary, about the time after which the nodes are lost without the address.
LOOK_S = 0.25
#: Seconds between two lookups of CLIENT_IP without the address; arbitrary.
LOOK_UP_S = 1.0


async def until_moved(loaded: LoadedNetwork, ip: str, observer: Observer) -> None:
    """Wait until this machine has lost an address, and CLIENT_IP means another one that it has.

    Args:
        loaded: the network.
        ip: the address at which the client listens.
        observer: gets one warning while there is no address.
    """
    while True:
        await asyncio.sleep(LOOK_S)
        said = False
        while not is_own(ip):
            try:
                if await looked_up(lambda: client_address(loaded)) != ip:
                    return
            except (UserError, EngineError, OSError) as why:
                if not said:
                    said = True
                    observer.warning(_lost(loaded, ip, why))
            await asyncio.sleep(LOOK_UP_S)


def _lost(loaded: LoadedNetwork, ip: str, why: Exception) -> str:
    host = loaded.config.client_ip or ip
    if is_ip(host):
        return (
            f"this machine no longer has the address {ip} (CLIENT_IP): the network continues when it has it again; "
            "with a host name as CLIENT_IP, and as --client of the services, it would follow the new address"
        )
    return f"this machine no longer has the address {ip}: the network continues when {host} is an address of this machine ({why})"
