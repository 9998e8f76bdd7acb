"""What the client has Dask run on a node: a coroutine that hands an order to the node's service, in whose process it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, cast

from distributed import Worker, WorkerPlugin, get_worker

#: Name of the plugin by which a worker of ours is told from any other.
PLUGIN = "fission"
#: An order and the bytes that belong to it -> an answer; never raises.
Obey: TypeAlias = "Callable[[Mapping[str, Any], bytes], Awaitable[dict[str, Any]]]"


class ServicePlugin(WorkerPlugin):
    """Joins a worker to the service in whose process it is."""

    name = PLUGIN

    def __init__(self, obey: Obey) -> None:
        """Args: obey: takes the client's orders."""
        self.obey = obey

    def setup(self, worker: Worker) -> None:
        """Called by Dask when the worker starts."""

    def __reduce__(self) -> Any:
        raise TypeError("the plugin of a node's service belongs to its process")


async def order(order: Mapping[str, Any], blob: bytes = b"") -> dict[str, Any]:
    """Run on a node: hand the order over and return the answer, a member "error" of which says why it was refused."""
    plugin = get_worker().plugins.get(PLUGIN)
    if plugin is None:
        return {"error": "this Dask worker belongs to no FISSION node; start one with: fission node --client IP"}
    return await cast(ServicePlugin, plugin).obey(order, blob)
