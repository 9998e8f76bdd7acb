"""What the client has Dask run on a node: a coroutine that hands an order to the node's service, in whose process it runs.

Dask names `order` by its module and name, so that both, and its arguments, must stay as they are: a client of another version must
get as far as to be refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, cast

from distributed import Worker, WorkerPlugin, get_worker

from fission.protocol.messages.node_to_client import OrderRefused
from fission.protocol.messages.order_envelopes import wrap_answer

#: Name of the plugin by which a worker of ours is distinguished from any other.
PLUGIN = "fission"
#: An order in its envelope, and the bytes that travel beside it -> an answer in its envelope; never raises.
HandleOrder: TypeAlias = "Callable[[Mapping[str, Any], bytes], Awaitable[dict[str, Any]]]"


class ServicePlugin(WorkerPlugin):
    """Joins a worker to the service in whose process it is."""

    name = PLUGIN

    def __init__(self, handle: HandleOrder) -> None:
        """Args: handle: carries out the client's orders."""
        self.handle = handle

    def setup(self, worker: Worker) -> None:
        """Called by Dask when the worker starts."""

    def __reduce__(self) -> Any:
        raise TypeError("the plugin of a node's service belongs to its process")


async def order(order: Mapping[str, Any], blob: bytes = b"") -> dict[str, Any]:
    """Run on a node: hand the order over and return the answer."""
    plugin = get_worker().plugins.get(PLUGIN)
    if plugin is None:
        refused = OrderRefused(error="this Dask worker belongs to no FISSION node; start one with: fission node --client IP")
        return wrap_answer(refused)
    return await cast(ServicePlugin, plugin).handle(order, blob)
