"""Describes the network of a run to viewers: its jobs and pipes, which do not change while it runs."""

from __future__ import annotations

import math
from typing import Literal

from fission.client.serve.control_server import Connection, ControlServer
from fission.core.base import BasePipe, group_names
from fission.core.jobs import InteractiveJob
from fission.core.network import Network
from fission.core.pipes import WriteJSONMixIn, WritePickleMixIn
from fission.protocol.messages.client_to_viewer import JobShape, NetworkDescribed, PipeShape
from fission.protocol.messages.viewer_to_client import DescribeNetwork


def describe(network: Network) -> NetworkDescribed:
    """Return the jobs and pipes of a network that has been checked."""
    jobs = []
    for number, job in sorted(network.jobs.items()):
        groups = tuple(group_names(job.GROUPS))
        lines = isinstance(job, InteractiveJob)
        jobs.append(JobShape(id=number, name=job._fission_name, local="LOCAL" in groups, groups=groups, takes_lines=lines))
    pipes = []
    for number, pipe in network.pipes.items():
        source, target = network.producer(number), network.consumer(number)
        if source is not None and target is not None:
            pipes.append(
                PipeShape(
                    id=number,
                    kind=type(pipe).__name__,
                    source=source._fission_id,
                    target=target._fission_id,
                    optional=bool(pipe.ASYNC),
                    encoding=encoding_of(pipe),
                    rate=rate_of(pipe),
                    made_by=f"{type(pipe).__module__}.{type(pipe).__qualname__}",
                    block_size=pipe.BLOCK_SIZE,
                    block_count=pipe.BLOCK_COUNT,
                )
            )
    return NetworkDescribed(network=network.name, jobs=tuple(jobs), pipes=tuple(pipes))


def encoding_of(pipe: BasePipe) -> Literal["pickle", "json", "bytes"]:
    """Return what the blocks of a pipe are, as far as its class tells."""
    if isinstance(pipe, WritePickleMixIn):
        return "pickle"
    return "json" if isinstance(pipe, WriteJSONMixIn) else "bytes"


def rate_of(pipe: BasePipe) -> float | None:
    """Return the RATE of a pipe, samples per second; None if it has none, or one that cannot be."""
    rate = getattr(pipe, "RATE", None)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        return None
    try:
        found = float(rate)
    except OverflowError:
        return None
    return found if math.isfinite(found) and found > 0 else None


def answer_description(network: Network, requests: ControlServer) -> None:
    """Answer `DescribeNetwork`.

    Args:
        network: the running network.
        requests: the server of the run.
    """
    description = describe(network)

    async def answer(request: DescribeNetwork, connection: Connection) -> NetworkDescribed:
        return description

    requests.answer(DescribeNetwork, answer)
