"""Copies the nodes' logs of a network to the client.

Each file has the name of its node. Beside it is a link with the name that MARVELO gave it,
``fission-192-168-4-2.log``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fission.adapters.run_folder import make_run_folder
from fission.client.folders.run_folders import current
from fission.client.run.engines.cluster import GATHER_S, cluster_engine, network_keys
from fission.client.run.engines.listening import check_ports, client_address
from fission.client.run.nodes.configured_nodes import ConfiguredNodes, only_here
from fission.client.serve.control_server import Viewer
from fission.core.checks import CLIENT
from fission.core.nodes import MultiNode
from fission.errors import UserError
from fission.ports import Engine, NodeName
from fission.project.archives import Archives
from fission.project.config import LoadedNetwork
from fission.protocol.messages.client_to_viewer import LogsCollected
from fission.protocol.messages.viewer_to_client import CollectLogs

#: Folder of the logs in the network's folder.
COLLECTION = "collection"


def collect(loaded: LoadedNetwork, say: Callable[[str], None]) -> dict[str, Path]:
    """Copy the logs into ``NETWORK/collection``, which is emptied first. Blocks.

    A file is named after its node, ``kitchen.log``. A link to it has MARVELO's name for it, after
    the address: ``fission-192-168-4-2.log``.

    Args:
        loaded: the network.
        say: called with texts for the user.

    Returns:
        The file of each node that had a log.

    Raises:
        UserError: the network has no nodes, CLIENT_IP is not this machine's, or there are no keys.
        EngineError: an address is in use.
    """
    try:
        with Viewer(loaded.folder) as viewer:
            answer = viewer.ask(CollectLogs(), LogsCollected)
            logs, ips = answer.logs, answer.ips
    except UserError:  # the network is not running
        logs, ips = _from_nodes(loaded, say)
    folder = loaded.folder / COLLECTION
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    log_file = current(loaded.folder) / "fission.log"
    if log_file.is_file():
        logs[CLIENT] = log_file.read_text(encoding="utf-8", errors="replace")
    found = {}
    for node, text in logs.items():
        if not text:
            say(f"node {node} has no log of {loaded.name}")
            continue
        found[node] = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', node)}.log"
        found[node].write_text(text, encoding="utf-8")
    _link(found, ips | _configured(loaded))
    return found


def marvelo_name(address: str) -> str:
    """Return MARVELO's name for the log of the node with this address, as written in NODES."""
    return f"fission-{re.sub(r'[^A-Za-z0-9_-]', '-', address)}.log"


def _configured(loaded: LoadedNetwork) -> dict[str, str]:
    """Return the address of each node as in the config.

    The client comes last: a node on the same machine takes precedence.
    """
    named = {node.name: node.ip for node in loaded.config.nodes if not isinstance(node, MultiNode)}
    return {**named, CLIENT: loaded.config.client_ip or "127.0.0.1"}


def _link(found: Mapping[str, Path], addresses: Mapping[str, str]) -> None:
    for node in sorted(found, key=lambda node: node == CLIENT):
        path = found[node]
        link = path.with_name(marvelo_name(addresses.get(node, node)))
        if os.path.lexists(link):
            continue
        try:
            link.symlink_to(path.name)
        except OSError:  # a file system without links
            with contextlib.suppress(OSError):
                shutil.copyfile(path, link)


def _from_nodes(loaded: LoadedNetwork, say: Callable[[str], None]) -> tuple[dict[str, str], dict[str, str]]:
    if only_here(loaded.config.nodes):
        return {}, {}
    keys = network_keys(loaded)
    ip = client_address(loaded)
    check_ports(loaded, ip)
    configured = ConfiguredNodes(loaded.config.nodes, ip)
    folder = make_run_folder()
    try:
        engine = cluster_engine(loaded, secrets.token_hex(8), keys, configured, Archives(loaded).of_job)
        return asyncio.run(_ask(engine, configured, loaded.name, say))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _ask(
    engine: Engine, configured: ConfiguredNodes, network: str, say: Callable[[str], None]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the log and the address of each connected node, by name."""
    await engine.open()
    try:
        expected = {node.name for node in configured.expected()}
        deadline = time.monotonic() + GATHER_S
        while time.monotonic() < deadline and not (expected and expected <= set(engine.nodes())):
            await asyncio.sleep(0.05)
        for name in sorted(expected - set(engine.nodes())):
            say(engine.absence(NodeName(name)))
        ips = {str(name): node.ip for name, node in engine.nodes().items()}
        logs = {str(name): text for name, text in (await engine.logs(network)).items()}
        await engine.dismiss()
        return logs, ips
    finally:
        await engine.close()
