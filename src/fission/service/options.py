"""The settings with which the service of a node is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fission.adapters.keys import home


@dataclass(frozen=True)
class NodeOptions:
    """The settings of one service.

    Attributes:
        client: address of the client, as given to `fission node`.
        port: port of the client.
        ip: address of this machine for the client and other nodes; None: the one that
            reaches the client.
        name: name of this node in messages.
        max_jobs: maximum number of jobs.
        root: folder for files; None: the client decides.
        keys: folder of the network's keys; empty: no encryption.
        versions: versions of Python, fission and Dask.
        preload: modules that the fork server loads.
        sweep: import string of the function that removes shared memory by prefix.
        announce: groups to announce; None: what the machine has.
    """

    client: str
    port: int
    ip: str | None
    name: str
    max_jobs: int
    root: Path | None
    keys: str
    versions: Mapping[str, str]
    preload: tuple[str, ...]
    sweep: str
    announce: tuple[str, ...] | None = None


def folder_of(own: Path | None, clients: str) -> Path:
    """Return the folder for the files of a node.

    Args:
        own: ``--root`` of the service; None: not given.
        clients: REMOTE_ROOT of the client's network; empty: not set.
    """
    return own or Path(clients or home("the node's folder", "name one with --root") / "fission")
