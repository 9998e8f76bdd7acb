"""Reports of the client's clock to the jobs that have asked for it (`self.network_time()`)."""

from __future__ import annotations

from collections.abc import Callable

from fission.client.run.nodes.node_clocks import NodeClocks
from fission.protocol.messages.client_to_job import ClientClock, ClientToJob


class ClockReports:
    """The jobs of one run that have asked."""

    def __init__(
        self,
        clocks: NodeClocks,
        machine: Callable[[str], str],
        newest: Callable[[int], tuple[int, str]],
        command: Callable[[int, ClientToJob], None],
    ) -> None:
        """Begin without jobs.

        Args:
            clocks: know the clocks of the nodes.
            machine: returns the machine of a node: "" for this one, else its name.
            newest: returns the newest incarnation of a job, and its node.
            command: sends a message to the newest incarnation of a job.
        """
        self._clocks, self._machine, self._newest, self._command = clocks, machine, newest, command
        self._asked: dict[int, int] = {}  # incarnation, by job

    def asked(self, job: int, incarnation: int) -> None:
        """Report the clock to a job, now and whenever it has been measured again."""
        if self._newest(job)[0] == incarnation:
            self._asked[job] = incarnation
            self._report(job, self._newest(job)[1])

    def measured(self, node: str) -> None:
        """Report the clock to the jobs on a node that has measured it."""
        for job, incarnation in list(self._asked.items()):
            if self._newest(job)[0] != incarnation:
                del self._asked[job]
            elif self._newest(job)[1] == node and self._machine(node):
                self._report(job, node)

    def _report(self, job: int, node: str) -> None:
        if not self._machine(node):
            self._command(job, ClientClock(local=True))
        elif (clock := self._clocks.steady(node)) is None:
            self._command(job, ClientClock())
        else:
            self._command(
                job,
                ClientClock(
                    known=True, offset_s=clock.offset_s, error_s=clock.error_s, drift=clock.drift, wall_s=self._clocks.own_wall_s()
                ),
            )
