"""Answers viewers who ask what would happen if a node were lost now."""

from __future__ import annotations

import time
from collections.abc import Callable

from fission.client.run.nodes.nodes import Nodes
from fission.client.serve.control_server import Connection, ControlServer
from fission.core.network import Network
from fission.errors import UnknownNameError, UserError
from fission.project.names import did_you_mean
from fission.protocol.messages.client_to_viewer import ForeseenJob, LossForeseen
from fission.protocol.messages.viewer_to_client import ForeseeLoss
from fission.protocol.supervision import Supervisor


def answer_losses(
    network: Network, nodes: Nodes, supervisor: Supervisor, requests: ControlServer, clock: Callable[[], float] = time.monotonic
) -> None:
    """Answer `ForeseeLoss`.

    Args:
        network: the running network.
        nodes: all that are known.
        supervisor: of the run.
        requests: the server of the run.
        clock: the supervisor's, in seconds.
    """

    async def answer(request: ForeseeLoss, connection: Connection) -> LossForeseen:
        known = [node.name for node in nodes.infos(lambda node: ())]
        if request.node not in known:
            raise UnknownNameError(
                f"there is no node {request.node!r}{did_you_mean(request.node, known) or '.'} Nodes: {', '.join(known) or 'none yet'}"
            )
        if nodes.local(request.node):
            raise UserError(f"{request.node} is the client's own node: the network waits for the client, and moves none of its jobs")
        places = supervisor.foresee_loss(request.node, clock())
        jobs = (ForeseenJob(job=network.jobs[one.job]._fission_name, node=one.node or None, reason=one.reason) for one in places)
        return LossForeseen(node=request.node, jobs=tuple(jobs))

    requests.answer(ForeseeLoss, answer)
