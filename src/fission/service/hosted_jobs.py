"""The jobs of one node: their files, start and end. `NodeLease` decides which of them may run."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fission.adapters.local_engine import LocalEngine
from fission.adapters.shared_memory.segments import sweep
from fission.errors import EngineError, UserError
from fission.ports import NODE_FAULT, EngineNotice, JobExited, JobOutput, NodeGone, NodeName, Place
from fission.protocol.messages.client_to_node import InspectJob, InstallArchive, LaunchJob, ReadLog, StopJob, StoreSnapshot
from fission.protocol.messages.node_to_client import Answer, ArchiveProgress, JobInspected, LogTail, OrderDone, OrderRefused
from fission.protocol.messages.process_to_engine import ProcessReport
from fission.protocol.node_lease import IncarnationToStop, NodeLease
from fission.service.archive_store import ArchiveStore, take_snapshot
from fission.service.client_link import ClientLink
from fission.service.options import NodeOptions

#: The virtual node of the service's own engine for all leases without modules to import.
HERE = NodeName("here")
#: Bytes of a log that are sent to a client that collects; arbitrary.
LOG_BYTES = 8 << 20

log = logging.getLogger("fission.node")


class HostedJobs:
    """Carries out the client's orders about jobs. For one asyncio loop."""

    def __init__(
        self,
        options: NodeOptions,
        engine: LocalEngine,
        lease: NodeLease,
        client: ClientLink,
        run_folder: str,
        shared_prefix: str,
        own_ip: Callable[[], str],
    ) -> None:
        """Prepare.

        Args:
            options: settings of the service.
            engine: hosts the jobs, on its node `HERE` or on one of the lease's own if there are
                modules to import first; the service opens and closes it.
            lease: the node's lease, which names the client.
            client: receives the reports.
            run_folder: temporary folder of the service.
            shared_prefix: prefix of this node's names in shared memory.
            own_ip: returns this machine's address.
        """
        self._engine, self._lease, self._client = engine, lease, client
        self._run_folder, self._shared_prefix, self._own_ip = run_folder, shared_prefix, own_ip
        self._options = options
        self._node = HERE  # virtual node of the present lease
        self._archives: ArchiveStore | None = None
        self._prepared: set[int] = set()  # jobs whose folders were created in this lease
        self._ends: dict[tuple[int, int], asyncio.Future[None]] = {}

    @property
    def lease_folder(self) -> str:
        """Return the folder of the sockets of this lease's jobs.

        Each lease has its own, so a killed job's leftovers are never reused.
        """
        return os.path.join(self._run_folder, str(self._lease.number))

    def use(self, archives: ArchiveStore) -> None:
        """Use these archives from now on."""
        self._archives = archives

    def begin_lease(self, older_folder: str, preload: Sequence[str] = ()) -> None:
        """Begin a lease.

        Args:
            older_folder: `lease_folder` of the lease before.
            preload: modules that its fork server imports. They stay out of the fork server of the
                other leases.
        """
        self._end_node()
        shutil.rmtree(older_folder, ignore_errors=True)
        self._prepared.clear()
        if preload:
            name = NodeName(f"{self._lease.network} {self._lease.number}")
            try:
                self._engine.add_node(name, preload)
                self._node = name
            except OSError as why:  # no memory or descriptors: the jobs can start without it
                self._client.report_notice(f"PRELOAD has no effect there: no process for it: {why}", self._options.name)

    def end_lease(self) -> None:
        """End the lease, after all its jobs were killed: remove their sockets and shared memory."""
        self._end_node()
        shutil.rmtree(self.lease_folder, ignore_errors=True)
        sweep(self._shared_prefix)

    def _end_node(self) -> None:
        """End the lease's own fork server, if any, with its jobs."""
        node, self._node = self._node, HERE
        if node != HERE:
            self._engine.end_node(node)
            for end in self._ends.values():
                if not end.done():
                    end.set_result(None)
            self._ends.clear()

    async def kill(self, stops: list[IncarnationToStop]) -> None:
        """Kill these incarnations."""
        for stop in stops:
            await self._engine.stop(stop.job, stop.incarnation, self._node, grace=0)

    async def follow(self) -> None:
        """Report the events of the jobs until cancelled."""
        async for event in self._engine.events():
            if isinstance(event, JobExited):
                self._ended(event.job_id, event.incarnation, event.code, event.report)
            elif isinstance(event, JobOutput):
                self._client.report_output(event)
            elif isinstance(event, EngineNotice):
                log.warning("%s", event.text)
                self._client.report_notice(event.text, self._options.name)
            elif isinstance(event, NodeGone) and event.name in (HERE, self._node):
                log.error("the fork server died, and its jobs with it; starting a new one")
                for job, incarnation in sorted(self._lease.running) if event.name == self._node else ():
                    self._ended(job, incarnation, -9, None)
                await self._engine.revive(event.name)

    # orders

    async def install(self, order: InstallArchive, blob: bytes) -> Answer:
        """Store a piece of an archive."""
        return ArchiveProgress(complete=await asyncio.to_thread(self._store().add, order.digest, order.start, order.size, blob))

    async def launch(self, order: LaunchJob, blob: bytes) -> Answer:
        """Start a job; return when it has ended.

        Args:
            order: the order.
            blob: a pickled `JobBundle`, passed on unread.
        """
        job, incarnation = order.job, order.incarnation
        error, new, stops = self._lease.launch(order.run, job, incarnation)
        if error:
            return OrderRefused(error=error)
        await self.kill(stops)
        if new:
            self._ends[job, incarnation] = asyncio.get_running_loop().create_future()
            try:
                place = await self._place(order)
                if (job, incarnation) in self._lease.running:  # it was not stopped in between
                    self._engine.host(job, incarnation, blob, self._node, place)
            except (UserError, EngineError, OSError) as why:  # disk full or read-only, or no process starts: another node may do better
                self._ended(job, incarnation, 1, ProcessReport(outcome=NODE_FAULT, error=str(why)))
        end = self._ends.get((job, incarnation))
        if end is not None:
            await asyncio.shield(end)
        return OrderDone()

    async def stop(self, order: StopJob, blob: bytes) -> Answer:
        """Stop an incarnation of the present run."""
        if order.run == self._lease.run:
            await self._engine.stop(order.job, order.incarnation, self._node, grace=order.grace_s)
        return OrderDone()

    async def inspect(self, order: InspectJob, blob: bytes) -> Answer:
        """Report why the kernel does not let a job run."""
        return JobInspected(standing=await self._engine.look(order.job, order.incarnation, self._node))

    async def store_snapshot(self, order: StoreSnapshot, blob: bytes) -> Answer:
        """Store a piece of a snapshot."""
        if (order.job, order.incarnation) not in self._lease.running or order.run != self._lease.run:
            return OrderRefused(error="the job does not run here")
        folder = self._snapshots(order.job, order.incarnation)
        await asyncio.to_thread(take_snapshot, folder, order.name, order.start, blob, order.state)
        return OrderDone()

    async def read_log(self, order: ReadLog, blob: bytes) -> Answer:
        """Send the end of a network's log."""
        found = await asyncio.to_thread(self._store().log_tail, order.network, LOG_BYTES)
        return LogTail(text=found.decode("utf-8", "replace"))

    # files

    def _store(self) -> ArchiveStore:
        if self._archives is None:
            raise UserError("no client has claimed the node")
        return self._archives

    def _snapshots(self, job: int, incarnation: int) -> Path:
        """Return the folder of the snapshots that an incarnation requests."""
        return Path(self.lease_folder, f"snapshots-{job}.{incarnation}")

    async def _place(self, order: LaunchJob) -> Place:
        archives, network, job = self._store(), self._lease.network, order.job
        snapshots = self._snapshots(job, order.incarnation)
        os.makedirs(snapshots, exist_ok=True)
        first = job not in self._prepared
        self._prepared.add(job)
        folder = await asyncio.to_thread(archives.job_folder, network, job, order.dependencies, empty=first)
        code = await asyncio.to_thread(archives.verified, order.code)
        return Place(
            folder=str(folder),
            sys_path=(str(code),),
            log_file=str(archives.log_file(network)),
            run_folder=self.lease_folder,
            ip=self._own_ip(),
            keys=self._options.keys,
            shared_prefix=self._shared_prefix,
            snapshot_folder=str(snapshots),
        )

    def _ended(self, job: int, incarnation: int, code: int, report: ProcessReport | None) -> None:
        end = self._ends.pop((job, incarnation), None)
        if end is not None and not end.done():
            end.set_result(None)
        exited = self._lease.ended(job, incarnation, code, report, time.monotonic())
        if exited is not None:
            self._client.report(exited)
