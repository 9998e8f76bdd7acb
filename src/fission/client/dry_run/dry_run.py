"""A network under supervision without processes: initial placement, and placement after losses.

`allocate` and ``check --survive`` use the `Supervisor` that runs networks, with the `Nodes` of a
run, so that all place jobs in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

from fission.client.run.jobs.bundles import plans
from fission.client.run.nodes.nodes import Nodes
from fission.core.network import Network
from fission.core.nodes import NodeInfo
from fission.ports import NodeJoined, NodeName
from fission.protocol.link_quality import NodeLink
from fission.protocol.supervision import Instruction, JobState, Launch, NodeLost, NodeUp, Supervisor


class DryRun:
    """One network on given nodes."""

    def __init__(
        self,
        network: Network,
        nodes: Sequence[NodeInfo],
        warn: Callable[[str], None],
        *,
        absent: Sequence[NodeInfo] = (),
        links: Mapping[str, Mapping[str, NodeLink]] | None = None,
    ) -> None:
        """Prepare the dry run.

        Args:
            network: the network whose jobs are placed.
            nodes: nodes that are up, with their measurements.
            warn: called with what is wrong with a job's `preference`.
            absent: expected nodes that are absent.
            links: links by the measuring node and the other node.
        """
        self._jobs = {number: job._fission_name for number, job in network.jobs.items()}
        self._up = [node.name for node in nodes]
        qualities = {node.name: node.TQ for node in nodes}
        known = [replace(node, jobs=()) for node in (*nodes, *absent)]
        self._nodes = Nodes(network, known, several=True, tq=lambda name: qualities.get(name, 0), warn=warn)
        for node in nodes:
            self._nodes.joined(NodeJoined(NodeName(node.name), node.ip, node.groups, node.max_jobs))
            self._nodes.linked(node.name, (links or {}).get(node.name, {}))
            self._nodes.measured(node.name, {name: value for name, value in asdict(node).items() if value is not None})
        view = self._nodes.view()
        self._supervisor = Supervisor(plans(network, None), view, restart_window_s=1.0, allocation_timeout_s=float("inf"))

    def start(self) -> list[Launch]:
        """Place all jobs as at the start of a run; return the launches."""
        for node in self._up:
            self._supervisor.handle(NodeUp(node=node), 0.0)
        return _launches(self._supervisor.start(0.0))

    def lose(self, nodes: Sequence[str]) -> list[Launch]:
        """Lose nodes, one after the other; return the launches that follow."""
        return [launch for node in nodes for launch in _launches(self._supervisor.handle(NodeLost(node=node, reason="lost"), 0.0))]

    def unplaced(self) -> dict[int, str]:
        """Return each job that has no place now, with the reason for each node."""
        waiting = [job for job in self._jobs if self._supervisor.state(job) is JobState.PENDING]
        return {job: self._supervisor.reasons[job].removeprefix(f"no place for {self._jobs[job]}: ") for job in waiting}


def _launches(instructions: Sequence[Instruction]) -> list[Launch]:
    return [instruction for instruction in instructions if isinstance(instruction, Launch)]
