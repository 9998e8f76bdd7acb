"""Starts the jobs of a run on the nodes that supervision has chosen."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from fission.client.run.jobs.bundles import Bundles
from fission.client.run.jobs.job_channel import JobChannel
from fission.client.run.jobs.processes import JobProcesses
from fission.client.run.jobs.stalled_jobs import StalledJobs
from fission.client.run.storage.checkpoint_service import CheckpointService
from fission.core.network import Network
from fission.errors import EngineError
from fission.ports import Engine, NodeName
from fission.protocol.supervision import JobState, Launch, Supervisor

log = logging.getLogger("fission.client")


class Launcher:
    """Starts incarnations of jobs, and records that they start."""

    def __init__(
        self,
        network: Network,
        engine: Engine,
        supervisor: Supervisor,
        channel: JobChannel,
        checkpoints: CheckpointService,
        processes: JobProcesses,
        stalled_jobs: StalledJobs,
        on_console: Callable[[str, int, int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the launcher.

        Args:
            network: the running network.
            engine: hosts the jobs.
            supervisor: knows which jobs have finished.
            channel: wires the jobs.
            checkpoints: has what new incarnations start from.
            processes: get each incarnation that starts.
            stalled_jobs: get the start of each incarnation.
            on_console: called with ("new incarnation", job, 0) before a later incarnation of a job
                starts.
            clock: returns the time in seconds.
        """
        self._network, self._engine, self._supervisor, self._channel = network, engine, supervisor, channel
        self._checkpoints, self._processes, self._stalled_jobs = checkpoints, processes, stalled_jobs
        self._on_console, self._clock = on_console, clock

    async def launch(self, order: Launch, bundles: Bundles) -> None:
        """Start an incarnation of a job.

        Args:
            order: the job, its incarnation and its node.
            bundles: makes what its process receives.

        Raises:
            SnapshotError: a value that was stored for the job is damaged.
        """
        job = self._network.jobs[order.job]
        if order.reason:
            log.info("%s -> node %s: %s", job._fission_name, order.node, order.reason)
        consumers = self._channel.consumers(order.job)
        finished = {pipe for pipe, consumer in consumers.items() if self._supervisor.state(consumer) is JobState.FINISHED}
        kept = self._checkpoints.kept(order.job)
        self._channel.placed(order.job, order.incarnation, order.node)
        bundle = bundles.bundle(order.job, order.incarnation, order.generation, frozenset(finished), *kept, order.node)
        if order.incarnation > 1:
            self._on_console("new incarnation", order.job, 0)
        self._channel.wire_later(order.job, bundle)
        self._processes.started(order.job, order.incarnation, order.node)
        self._stalled_jobs.progress.started(order.job, self._clock())
        try:
            await self._engine.launch(bundle, NodeName(order.node))
        except EngineError as why:
            log.warning("%s", why)  # the node is gone, which arrives as an event
        for pipe, producer in self._channel.producers(order.job).items():
            if self._supervisor.state(producer) is JobState.FINISHED:
                self._channel.send_end(producer, pipe, order.job)
