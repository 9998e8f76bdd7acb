"""Makes the engine that reaches the nodes of a network; needs the extra ``cluster``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fission.adapters.cluster.engine import DaskEngine
from fission.adapters.cluster.members import RunParameters
from fission.adapters.cluster.worker import security
from fission.adapters.curve import Guard
from fission.adapters.datagrams import Datagrams
from fission.adapters.keys import Keys, default_folder, load_keys
from fission.adapters.sealing import Seals
from fission.client.run.engines.listening import client_address
from fission.client.run.nodes.configured_nodes import ConfiguredNodes
from fission.core.addresses import host_port
from fission.core.network import Network
from fission.ports import Archive, Engine, JobArchives
from fission.project.archives import Archives
from fission.project.config import LoadedNetwork
from fission.service.versions import versions

log = logging.getLogger("fission.client")

#: Seconds that nodes have to answer before the network starts without them; arbitrary. Their services look for the
#: client every second.
GATHER_S = 5.0


def cluster_engine(
    loaded: LoadedNetwork,
    run: str,
    keys: Keys | None,
    configured: ConfiguredNodes,
    archives_of: Callable[[int], JobArchives],
    pre_copy: Callable[[], Sequence[Archive]] = tuple,
) -> Engine:
    """Return the engine that reaches the nodes of a network.

    Args:
        loaded: the network; CLIENT_IP is set.
        run: identity of the run.
        keys: keys of the network; None: nothing is encrypted.
        configured: recognises the nodes.
        archives_of: returns the archives that a job needs.
        pre_copy: returns the archives that every node gets when it joins.
    """
    config, ip = loaded.config, client_address(loaded)
    parameters = RunParameters(
        run=run,
        network=loaded.name,
        pulse_address=(ip, config.port),
        report_address=f"tcp://{host_port(ip, config.port + 2)}",
        interval_s=config.pulse_interval,
        orphan_timeout_s=config.orphan_timeout,
        root=config.remote_root or "",
        versions=versions(),
        preload=config.preload,
    )
    return DaskEngine(
        parameters,
        configured,
        archives_of,
        ip=ip,
        port=config.port,
        cluster=config.cluster,
        tls=None if keys is None else security(str(keys.ca_file), str(keys.cert_file), str(keys.key_file)),
        guard=guard_of(keys),
        pulses=partial(Datagrams, Seals(keys)),
        follow=config.debug_window,
        pre_copy=pre_copy,
        keys="" if keys is None else str(keys.folder),
    )


def network_keys(loaded: LoadedNetwork) -> Keys | None:
    """Return the keys that encrypt the network; None: SECURITY is off.

    Raises:
        UserError: there are no keys.
    """
    return load_keys(default_folder()) if loaded.config.security else None


def guard_of(keys: Keys | None) -> Callable[[Any], Any]:
    """Return a function that guards the sockets of a ZeroMQ context.

    The guard bounds strangers, and encrypts if there are keys.
    """
    return lambda context: Guard(context, keys, log)


def all_archives(network: Network, archives: Archives) -> list[Archive]:
    """Return the archives that the jobs of a network need, each once."""
    found: dict[str, Archive] = {}
    for job in network.jobs:
        needed = archives.of_job(job)
        found |= {archive.digest: archive for archive in (needed.code, needed.dependencies) if archive is not None}
    return list(found.values())
