"""What the service of a node is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fission.adapters.keys import home


@dataclass(frozen=True)
class NodeOptions:
    """The settings of one service.

    Attributes:
        client: where the client listens, as `fission node` was given it.
        port: of the client.
        ip: of this machine, as the client and the other nodes reach it; None: the one on the way to the client.
        name: of this node in messages.
        max_jobs: how many jobs it takes.
        root: where files go; None: as the client says.
        keys: folder of the network's keys; empty: nothing is encrypted.
        versions: of Python, fission and Dask.
        preload: modules that the fork server loads.
        sweep: import string of what removes shared memory by its prefix.
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


def folder_of(own: Path | None, clients: str) -> Path:
    """Return where the files of a node go.

    Args:
        own: ``--root`` of the service; None: it has none.
        clients: REMOTE_ROOT of the client's network; empty: it has none.
    """
    return own or Path(clients or home("the node's folder", "name one with --root") / "fission")
