"""The nodes' logs of a network, copied to the client."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from fission.adapters.cluster.engine import DaskEngine
from fission.adapters.run_folder import make_run_folder
from fission.client.listening import check_ports, client_address
from fission.client.requests import Looker
from fission.client.roster import Roster, only_here
from fission.client.run import GATHER_S, far_engine, logs_of, network_keys
from fission.client.run_folders import current
from fission.errors import UserError
from fission.ports import NodeName
from fission.project.archives import Archives
from fission.project.config import LoadedNetwork

#: Folder in the network's one.
COLLECTION = "collection"


def collect(loaded: LoadedNetwork, say: Callable[[str], None]) -> dict[str, Path]:
    """Copy the logs into ``NETWORK/collection``, which is emptied first; return the file of each node that had one. Blocks.

    Args:
        loaded: the network.
        say: told what the user should know.

    Raises:
        UserError: the network has no nodes, CLIENT_IP is not this machine's, or there are no keys.
        EngineError: an address is in use.
    """
    try:
        with Looker(loaded.folder) as looker:
            logs = dict(looker.ask("collect")["logs"])
    except UserError:  # it does not run
        logs = _from_nodes(loaded, say)
    folder = loaded.folder / COLLECTION
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found = {}
    log_file = current(loaded.folder) / "fission.log"
    own = {"client": log_file} if log_file.is_file() else {}
    for node, path in own.items():
        logs[node] = path.read_text(encoding="utf-8", errors="replace")
    for node, text in logs.items():
        if not text:
            say(f"node {node} has no log of {loaded.name}")
            continue
        found[node] = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', node)}.log"
        found[node].write_text(text, encoding="utf-8")
    return found


def _from_nodes(loaded: LoadedNetwork, say: Callable[[str], None]) -> dict[str, str]:
    if only_here(loaded.config.nodes):
        return {}
    keys = network_keys(loaded)
    check_ports(loaded, client_address(loaded))
    roster = Roster(loaded.config.nodes)
    folder = make_run_folder()
    try:
        engine = far_engine(loaded, secrets.token_hex(8), keys, roster, Archives(loaded).baggage)
        return asyncio.run(_ask(engine, roster, loaded.name, say))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _ask(engine: DaskEngine, roster: Roster, network: str, say: Callable[[str], None]) -> dict[str, str]:
    await engine.open()
    try:
        expected = {node.name for node in roster.expected()}
        deadline = time.monotonic() + GATHER_S
        while time.monotonic() < deadline and not (expected and expected <= set(engine.nodes())):
            await asyncio.sleep(0.05)
        for name in sorted(expected - set(engine.nodes())):
            say(engine.absence(NodeName(name)))
        logs = await logs_of(engine, network)
        await engine.dismiss()
        return logs
    finally:
        await engine.close()
