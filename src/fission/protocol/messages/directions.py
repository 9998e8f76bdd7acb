"""The directions of all typed messages, in the order of docs/messages.md.

To add one, write a module with its classes and a `Codec` (see
`fission.protocol.messages.client_to_job`). The first paragraph of its docstring says who sends what
to whom over which connection. Name the module here and run ``python -m scripts.draw_messages``. The
docstring of each message and `Part` says what has happened or what to do, then has one line per
field under "Attributes:". A module may have several codecs if its messages travel in different
ways. The tests of all directions (tests/protocol/messages/) take their list from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fission.protocol.messages.codec import Codec

#: Modules that have a `Codec`: names, because some are above this layer.
DIRECTIONS: tuple[str, ...] = (
    "fission.protocol.messages.client_to_job",
    "fission.protocol.messages.job_to_client",
    "fission.protocol.messages.viewer_to_client",
    "fission.protocol.messages.client_to_viewer",
    "fission.protocol.messages.run_events",
    "fission.protocol.messages.client_to_node",
    "fission.protocol.messages.node_to_client",
    "fission.protocol.messages.node_to_node",
    "fission.protocol.messages.client_to_fork_server",
    "fission.protocol.messages.fork_server_to_client",
    "fission.protocol.messages.process_to_engine",
    "fission.protocol.messages.pipelines.client_to_router",
    "fission.protocol.messages.pipelines.router_to_client",
    "fission.protocol.messages.pipelines.broker_to_router",
    "fission.protocol.messages.pipelines.router_to_broker",
    "fission.protocol.messages.pipelines.pipeliner_to_router",
    "fission.protocol.messages.pipelines.router_to_pipeliner",
    "fission.protocol.messages.pipelines.pypelinin_to_router",
    "fission.protocol.messages.pipelines.router_to_pypelinin",
    "fission.protocol.messages.pipelines.broker_to_worker",
    "fission.protocol.messages.pipelines.router_to_worker",
    "fission.protocol.messages.pipelines.worker_to_router",
)


def codecs_of(direction: str) -> list[Codec[Any]]:
    """Return the codecs that a module of `DIRECTIONS` defines, in their order."""
    return [value for value in vars(import_module(direction)).values() if isinstance(value, Codec)]
