"""Which Brokers are alive, which workers they have, and why their processes died.

A Broker reports for each process that died which job killed it. Until then, or until the Broker
itself is judged dead, the jobs that were lost with that process are held back: a job that kills its
process must not run forever.
"""

from __future__ import annotations

import logging

from fission.errors import RemoteProtocolError
from fission.pipelines.leases import BrokerView
from fission.pipelines.ports import Cluster, PipelineStore
from fission.protocol.messages.pipelines.broker_to_router import BrokerPulse
from fission.protocol.pipeline_records import TaskEnd

#: Seconds between two messages of a Broker or Pipeliner that is alive. Arbitrary.
PULSE_S = 1.0
#: Seconds of silence after which a Pipeliner or Broker is judged dead: five pulses.
SILENCE_S = 5 * PULSE_S
#: Seconds in which a Broker must report why a process died; it looks every few milliseconds.
REPORT_S = 2.0
#: Seconds between the arrival of the first Broker and the failure of a job whose worker no Broker has. Arbitrary: other Brokers may
#: still start.
UNKNOWN_S = 5.0
#: Maximum number of workers' names that are remembered. Arbitrary.
WORKERS = 10_000


class BrokerRegistry:
    """See the module. For one thread; ``now`` is in monotonic seconds.

    Attributes:
        brokers: by id.
        workers: names of all workers that a Broker ever had.
    """

    def __init__(self, store: PipelineStore, cluster: Cluster, logger: logging.Logger) -> None:
        """Create a registry without Brokers.

        Args:
            store: remembers the names of workers.
            cluster: runs the jobs.
            logger: the Router's.
        """
        self._store = store
        self._cluster = cluster
        self._log = logger
        self.brokers: dict[str, BrokerView] = {}
        self.workers = store.known_workers()
        self._first_seen: float | None = None
        self._held: dict[str, list[TaskEnd]] = {}  # by process: jobs that were lost with it
        self._held_since: dict[str, float] = {}
        self._explained: dict[str, float] = {}  # processes whose death needs no further report, since when

    def pulse(self, message: BrokerPulse, now: float) -> list[TaskEnd]:
        """Note that a Broker is alive, or ends; return lost tasks that are held back no longer.

        Raises:
            RemoteProtocolError: there are too many names of workers.
        """
        workers, processes = frozenset(message.workers), frozenset(message.processes)
        fresh = workers - self.workers
        if len(self.workers) + len(fresh) > WORKERS:
            raise RemoteProtocolError(f"at most {WORKERS} names of workers are remembered; {len(fresh)} more are too many")
        if fresh:
            self._store.remember_workers(sorted(fresh))
            self.workers |= fresh
        if message.broker not in self.brokers:
            self._log.info("Broker %s has connected: %s", message.broker, ", ".join(sorted(workers)))
        self.brokers[message.broker] = BrokerView(now, workers, processes)
        if self._first_seen is None:
            self._first_seen = now
        return self._gone(message.broker, "has left", now) if message.leave else []

    def explained(self, process: str, now: float) -> None:
        """Note that a Broker has reported why this process died."""
        self._explained[process] = now

    def hold(self, end: TaskEnd, now: float) -> bool:
        """Hold a lost task back until its Broker has reported; return False if it has."""
        if end.process in self._explained:
            return False
        self._held.setdefault(end.process, []).append(end)
        self._held_since.setdefault(end.process, now)
        return True

    def release(self, process: str) -> list[TaskEnd]:
        """Return the tasks that were held back because of this process; they are held back no
        longer.
        """
        self._held_since.pop(process, None)
        return self._held.pop(process, [])

    def forgive(self, seconds: float) -> None:
        """Do not count these seconds as silence: the Router itself was frozen."""
        for broker in self.brokers.values():
            broker.seen += seconds

    def tick(self, now: float) -> list[TaskEnd]:
        """Judge silent Brokers and missing reports; return lost tasks that are released now."""
        released: list[TaskEnd] = []
        for name, broker in list(self.brokers.items()):
            if now - broker.seen > SILENCE_S:
                released += self._gone(name, f"is lost: silent for {SILENCE_S:g} s", now)
        for process, since in list(self._held_since.items()):
            if now - since > REPORT_S:
                released += self.release(process)
        self._explained = {process: since for process, since in self._explained.items() if now - since <= SILENCE_S}
        return released

    def complete(self, now: float) -> bool:
        """Return whether the first Broker arrived so long ago that a worker without a Broker is a
        mistake.
        """
        return self._first_seen is not None and now - self._first_seen > UNKNOWN_S

    def _gone(self, name: str, what: str, now: float) -> list[TaskEnd]:
        broker = self.brokers.pop(name)
        self._log.info("Broker %s %s", name, what)
        processes = broker.processes | self._cluster.processes_of(name)  # it may have died before it reported the newest
        self._cluster.lost(processes)
        released = []
        for process in processes:
            self._explained[process] = now  # no report will come
            released += self.release(process)
        return released
