"""The coroutine that Dask runs on a node, in the service's own process: it hands over an order.

Dask identifies `order` by its module and name. Both, and the arguments, must not change: a client
of another version must get far enough to be refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, cast

from distributed import Worker, WorkerPlugin, get_worker

from fission.protocol.messages.node_to_client import OrderRefused
from fission.protocol.messages.order_envelopes import wrap_answer

#: Name of the plugin that distinguishes FISSION's workers from all others.
PLUGIN = "fission"
#: Takes an order in its envelope and the accompanying bytes, returns an answer in its envelope; never raises.
HandleOrder: TypeAlias = "Callable[[Mapping[str, Any], bytes], Awaitable[dict[str, Any]]]"


class ServicePlugin(WorkerPlugin):
    """Connects a worker to the service in its process."""

    name = PLUGIN

    def __init__(self, handle: HandleOrder) -> None:
        """Set the handler.

        Args:
            handle: function that executes the client's orders.
        """
        self.handle = handle

    def setup(self, worker: Worker) -> None:
        """Called by Dask when the worker starts."""

    def __reduce__(self) -> Any:
        raise TypeError("the plugin of a node's service belongs to its process")


async def order(order: Mapping[str, Any], blob: bytes = b"") -> dict[str, Any]:
    """Hand an order to the service and return its answer. Runs on the node."""
    plugin = get_worker().plugins.get(PLUGIN)
    if plugin is None:
        refused = OrderRefused(error="this Dask worker belongs to no FISSION node; start one with: fission node --client IP")
        return wrap_answer(refused)
    return await cast(ServicePlugin, plugin).handle(order, blob)
