"""A network's nodes without a run: which are present, and which files of it they keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fission.adapters.cluster.visit import Visit, Visited
from fission.adapters.cluster.worker import security
from fission.client.run.engines.cluster import GATHER_S, all_archives, network_keys
from fission.client.run.engines.listening import check_ports, client_address
from fission.client.run.nodes.configured_nodes import ConfiguredNodes, only_here
from fission.core.nodes import NodeInfo
from fission.errors import UserError
from fission.project.archives import Archives
from fission.project.config import LoadedNetwork
from fission.service.versions import versions


@dataclass
class Outcome:
    """The result of a request to all nodes.

    Attributes:
        done: node -> bytes sent or removed.
        failed: node -> reason for the failure; includes absent expected nodes.
        troubles: other texts for the user, about services that have connected.
    """

    done: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)


@dataclass
class PresentNodes:
    """The nodes that are present.

    Attributes:
        visit: sends requests to the nodes.
        nodes: the present nodes.
        expected: nodes that NODES names, in its order.
        missing: expected node -> what to do about it; empty where `troubles` says it.
        troubles: texts for the user, about services that have connected but cannot be used.
    """

    visit: Visit
    nodes: list[Visited]
    expected: list[NodeInfo]
    missing: dict[str, str]
    troubles: list[str]


@asynccontextmanager
async def connected_nodes(loaded: LoadedNetwork, *, measure: bool = False) -> AsyncIterator[PresentNodes]:
    """Connect to the nodes of a network; disconnect when the with-block ends.

    Args:
        loaded: the network, which is not running.
        measure: whether the nodes measure their load meanwhile.

    Raises:
        UserError: CLIENT_IP is not this machine's, or there are no keys.
        EngineError: an address is in use.
    """
    ip = client_address(loaded)
    keys = network_keys(loaded)
    check_ports(loaded, ip)
    configured = ConfiguredNodes(loaded.config.nodes, ip)
    visit = Visit(
        configured,
        versions(),
        ip=ip,
        port=loaded.config.port,
        cluster=loaded.config.cluster,
        tls=None if keys is None else security(str(keys.ca_file), str(keys.cert_file), str(keys.key_file)),
        keys="" if keys is None else str(keys.folder),
        root=loaded.config.remote_root or "",
    )
    await visit.open()
    try:
        expected = configured.expected()
        nodes = await visit.gather([node.name for node in expected], GATHER_S)
        if measure and nodes:
            nodes = await visit.measure()
        absent = [node.name for node in expected if node.name not in {found.name for found in nodes}]
        missing = {name: await asyncio.to_thread(visit.absence, name) for name in absent}
        yield PresentNodes(visit, nodes, expected, missing, visit.troubles)
    finally:
        await visit.close()


def send_data(loaded: LoadedNetwork) -> Outcome:
    """Send the project's code and the DEPENDENCIES of its jobs to every present node. Blocks.

    Identical content is sent once.

    Raises:
        UserError: NODES names no other machine, the network is running, CLIENT_IP is not this
            machine's, there are no keys, or a file cannot be read.
        EngineError: an address is in use.
    """
    archives = all_archives(loaded.network, Archives(loaded))

    async def send(visit: Visit, node: Visited) -> int | str:
        for archive in archives:
            if error := await visit.send(node, archive):
                return error
        return sum(len(archive.content) for archive in archives)

    return _to_all(loaded, send)


def remove_data(loaded: LoadedNetwork) -> Outcome:
    """Remove a network from its nodes: code, DEPENDENCIES, folders of jobs, logs. Blocks.

    Raises:
        UserError: as `send_data`.
        EngineError: as `send_data`.
    """
    return _to_all(loaded, lambda visit, node: visit.remove(node, loaded.name))


def _to_all(loaded: LoadedNetwork, give: Callable[[Visit, Visited], Awaitable[int | str]]) -> Outcome:
    from fission.client.attach.attach import runs_here

    if only_here(loaded.config.nodes) and loaded.config.cluster is None:
        raise UserError(f"NODES of {loaded.name} names no other machine, so there is no node to send to or to remove from")
    if runs_here(loaded.folder):
        raise UserError(f"the network {loaded.name} is running and sends its nodes what they need; stop it first")

    async def all_nodes() -> Outcome:
        async with connected_nodes(loaded) as found:
            outcome = Outcome(troubles=found.troubles)
            answers = await asyncio.gather(*(give(found.visit, node) for node in found.nodes))
            for node, answer in zip(found.nodes, answers, strict=True):
                if isinstance(answer, int):
                    outcome.done[str(node.name)] = answer
                else:
                    outcome.failed[str(node.name)] = answer
            outcome.failed |= {name: hint or "it cannot be had" for name, hint in found.missing.items()}
            return outcome

    return asyncio.run(all_nodes())
