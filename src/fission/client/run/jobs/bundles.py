"""What a job's process receives, and what supervision and placement need to know of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fission.core.base import BaseJob, group_names
from fission.core.jobs import PythonJob
from fission.core.network import Network
from fission.core.python_job import resumable
from fission.ports import JobBundle, Wiring
from fission.project.config import LoadedNetwork
from fission.project.shipping import pickled
from fission.protocol.supervision import JobPlan
from fission.protocol.window import SNAPSHOT_WINDOW_BLOCKS, WINDOW_BLOCKS, WINDOW_BYTES

LINKS = "fission.adapters.zmq_links:ZmqLinks"
GUARD = ("fission.adapters.keys:load_keys", "fission.adapters.curve:Guard")
#: Pipes after a job's own outputs to which its large blocks may be handed on. Arbitrary: with one output, a slot's
#: entry takes two cache lines.
HANDED_ON_TO = 6
SHARED = ("fission.adapters.shared_memory.arena:Arena", "fission.adapters.shared_memory.views:Views")


class Addresses:
    """Where the incarnations of jobs listen: below one folder of this machine.

    ``near`` is the node that asks; empty: the client.

    Attributes:
        several: whether there are several machines.
    """

    several = False

    def __init__(self, run_folder: str, shared_prefix: str) -> None:
        """Prepare the addresses.

        Args:
            run_folder: temporary folder of the run.
            shared_prefix: prefix of the run's names in shared memory.
        """
        self._run_folder = run_folder
        self.shared_prefix = shared_prefix
        self.client = f"ipc://{run_folder}/client"

    def data(self, job: int, incarnation: int, near: str = "") -> str:
        """Return where an incarnation of a job receives blocks; empty: unknown."""
        return f"ipc://{self._run_folder}/{job}.{incarnation}.data"

    def control(self, job: int, incarnation: int, near: str = "") -> str:
        """Return where an incarnation of a job receives releases and commands; empty: unknown."""
        return f"ipc://{self._run_folder}/{job}.{incarnation}.control"

    def own(self, job: int, incarnation: int) -> tuple[str, str]:
        """Return where an incarnation of a job must listen, for data and for control."""
        return self.data(job, incarnation), self.control(job, incarnation)

    def client_for(self, node: str) -> str:
        """Return where jobs on a node reach the client."""
        return self.client

    def known(self, job: int, incarnation: int) -> bool:
        """Return whether an incarnation is reachable."""
        return True

    def placed(self, job: int, incarnation: int, node: str) -> None:
        """Record the node of an incarnation."""

    def reported(self, job: int, incarnation: int, addresses: Mapping[str, str]) -> None:
        """Record where other machines reach an incarnation, as it has reported."""

    def recall(self, nodes: Mapping[int, tuple[int, str]], addresses: Mapping[tuple[int, int], Mapping[str, str]]) -> None:
        """Restore what another client knew.

        Args:
            nodes: (newest incarnation, node) of each job.
            addresses: what incarnations have reported, by (job, incarnation).
        """
        for job, (incarnation, node) in nodes.items():
            self.placed(job, incarnation, node)
        for (job, incarnation), reported in addresses.items():
            self.reported(job, incarnation, reported)


class HostAddresses(Addresses):
    """Where the incarnations of jobs listen on several machines.

    They listen below a folder of each machine, and at TCP ports that an incarnation reports when it
    starts.
    """

    several = True

    def __init__(self, run_folder: str, shared_prefix: str, far_client: str, home: str) -> None:
        """Prepare the addresses.

        Args:
            run_folder: temporary folder of the run on the client's own node.
            shared_prefix: prefix of the run's names in shared memory there.
            far_client: where other machines reach the client.
            home: name of the client's own node.
        """
        super().__init__(run_folder, shared_prefix)
        self._far_client, self._home = far_client, home
        self._nodes: dict[tuple[int, int], str] = {}
        self._reported: dict[tuple[int, int], Mapping[str, str]] = {}

    def data(self, job: int, incarnation: int, near: str = "") -> str:
        return self._address(job, incarnation, near, "data")

    def control(self, job: int, incarnation: int, near: str = "") -> str:
        return self._address(job, incarnation, near, "control")

    def own(self, job: int, incarnation: int) -> tuple[str, str]:
        return f"ipc://@/{job}.{incarnation}.data", f"ipc://@/{job}.{incarnation}.control"

    def client_for(self, node: str) -> str:
        return self.client if node == self._home else self._far_client

    def known(self, job: int, incarnation: int) -> bool:
        return (job, incarnation) in self._reported

    def placed(self, job: int, incarnation: int, node: str) -> None:
        self._nodes[job, incarnation] = node

    def reported(self, job: int, incarnation: int, addresses: Mapping[str, str]) -> None:
        self._reported[job, incarnation] = dict(addresses)

    def all_reported(self) -> Mapping[tuple[int, int], Mapping[str, str]]:
        """Return what every incarnation has reported."""
        return self._reported

    def _address(self, job: int, incarnation: int, near: str, purpose: str) -> str:
        node = self._nodes.get((job, incarnation))
        if node is None:
            return ""
        if not near and node == self._home:
            return f"ipc://{self._run_folder}/{job}.{incarnation}.{purpose}"
        if near == node:
            return f"ipc://@/{job}.{incarnation}.{purpose}"
        return self._reported.get((job, incarnation), {}).get(purpose, "")


class Bundles:
    """Makes the bundles of one run."""

    def __init__(self, loaded: LoadedNetwork, folder: str, addresses: Addresses, incarnation: Callable[[int], int]) -> None:
        """Prepare everything that does not change during the run.

        Args:
            loaded: the network.
            folder: folder of the run; each job has a folder in it, named by its id.
            addresses: addresses of this run.
            incarnation: returns the newest incarnation of a job; 0 if it has none yet.

        Raises:
            DefinitionError: a part of a job cannot be sent to its process.
        """
        self._loaded = loaded
        self._network = loaded.network
        self._folder = folder
        self._addresses = addresses
        self._incarnation = incarnation
        self._needed = loaded.network.needed
        self._timed = loaded.network.timed
        self._asks_times = frozenset(pipe for pipe in self._timed if _repeats_blocks(loaded.network.producer(pipe)))
        self._readers = readers(loaded.network)
        self._readers_by_pipe = readers_by_pipe(self._readers)
        self._pickled = {number: pickled(job) for number, job in loaded.network.jobs.items()}
        self._window_blocks = _window_blocks(loaded.network)

    def bundle(
        self,
        number: int,
        incarnation: int,
        generation: int,
        closed: frozenset[int],
        snapshots: tuple[tuple[int, int], ...],
        kept: Mapping[int, bytes],
        damaged: Mapping[tuple[int, int], str],
        snapshot_folder: str,
        node: str = "",
    ) -> JobBundle:
        """Return the bundle of an incarnation of a job on a node.

        The wiring leads to the newest incarnations of its neighbours.
        """
        network, job = self._network, self._network.jobs[number]
        data, control = self._addresses.data, self._addresses.control
        wiring = Wiring(
            *self._addresses.own(number, incarnation),
            {pipe.id: data(*self._incarnation_of(network.consumer(pipe.id)), node) for pipe in job.outputs},
            {pipe.id: control(*self._incarnation_of(network.producer(pipe.id)), node) for pipe in job.inputs},
            self._addresses.client_for(node),
        )
        return JobBundle(
            job_id=number,
            name=job._fission_name,
            network=self._loaded.name,
            incarnation=incarnation,
            folder=f"{self._folder}/{number}",
            sys_path=(str(self._loaded.root),),
            log_file=f"{self._folder}/fission.log",
            log_level="DEBUG",
            links=LINKS,
            wiring=wiring,
            feedback=frozenset(pipe.id for pipe in job.inputs if pipe.ASYNC and waits_for_itself(network, pipe.id)),
            max_queues=_max_queues(network, job),
            needed={pipe.id: self._needed[pipe.id] for pipe in job.outputs},
            plain=frozenset(pipe.id for pipe in (*job.inputs, *job.outputs) if _meets_executable(network, pipe.id)),
            timed=frozenset(pipe.id for pipe in (*job.inputs, *job.outputs) if pipe.id in self._timed),
            asks_times=frozenset(pipe.id for pipe in (*job.inputs, *job.outputs) if pipe.id in self._asks_times),
            head_size=self._loaded.config.head_size,
            window_blocks=self._window_blocks,
            window_bytes=WINDOW_BYTES,
            pickled_job=self._pickled[number],
            generation=generation,
            closed=closed,
            snapshots=snapshots,
            kept=kept,
            damaged=damaged,
            snapshot_folder=snapshot_folder,
            shared=SHARED,
            guard=GUARD,
            shared_prefix=self._addresses.shared_prefix,
            handed_on=handed_on(job, self._readers_by_pipe),
            downstream=len(self._readers[number]) - len(job.outputs),
            consumers={pipe.id: self._incarnation_of(network.consumer(pipe.id))[1] for pipe in job.outputs},
        )

    def _incarnation_of(self, job: BaseJob | None) -> tuple[int, int]:
        if job is None:
            return 0, 1  # a checked network has both ends of every pipe
        return job._fission_id, max(1, self._incarnation(job._fission_id))


def readers(network: Network) -> dict[int, list[int]]:
    """Return for each job the pipes that its large blocks may be read from.

    These are its outputs, followed by the pipes to which its blocks may be handed on. A job may
    hand on a block of its current compute block, because that block is not released before the
    job's outputs are. This does not hold for ASYNC pipes and for pipes that drop blocks; and
    executables read bytes.
    """
    found = {}
    for number, job in network.jobs.items():
        pipes = [pipe.id for pipe in job.outputs]
        position, most = 0, len(pipes) + HANDED_ON_TO
        while position < len(pipes) < most:
            consumer = network.consumer(pipes[position])
            if _waits_for_releases(network, pipes[position]) and isinstance(consumer, PythonJob):
                further = [pipe.id for pipe in consumer.outputs if _waits_for_releases(network, pipe.id) and pipe.id not in pipes]
                pipes += further[: most - len(pipes)]
            position += 1
        found[number] = pipes
    return found


def _waits_for_releases(network: Network, pipe: int) -> bool:
    consumer = network.consumer(pipe)
    return not network.pipes[pipe].ASYNC and not _meets_executable(network, pipe) and consumer is not None and not consumer.MAX_QUEUE


def readers_by_pipe(readers: Mapping[int, list[int]]) -> dict[int, list[tuple[int, int]]]:
    """Return by pipe the producers whose blocks it may carry, each with its number among their readers."""
    found: dict[int, list[tuple[int, int]]] = {}
    for producer, pipes in readers.items():
        for number, pipe in enumerate(pipes):
            found.setdefault(pipe, []).append((producer, number))
    return found


def handed_on(job: BaseJob, by_pipe: Mapping[int, list[tuple[int, int]]]) -> dict[int, dict[int, int]]:
    """Return by producer: for each output of the job, its number among the producer's readers.

    Only outputs that come after the producer's own outputs have such a number.
    """
    found: dict[int, dict[int, int]] = {}
    for index, pipe in enumerate(job.outputs):
        for producer, number in by_pipe.get(pipe.id, ()):
            if producer != job._fission_id:
                found.setdefault(producer, {})[index] = number
    return found


def plans(network: Network, restarts: int | None) -> list[JobPlan]:
    """Return what supervision needs to know of a network's jobs.

    Args:
        network: the network.
        restarts: limit for jobs that do not set their own.
    """
    parts, required = _parts(network), network.required
    return [
        JobPlan(
            job=number,
            name=job._fission_name,
            inputs={pipe.id: producer._fission_id for pipe in job.inputs if (producer := network.producer(pipe.id)) is not None},
            outputs={pipe.id: consumer._fission_id for pipe in job.outputs if (consumer := network.consumer(pipe.id)) is not None},
            source=job._fission_is_source,
            resumable=resumable(job),
            part=parts[number],
            required=number in required,
            restarts=restarts if isinstance(job.RESTARTS, str) else job.RESTARTS,
            priority=job.PRIORITY,
        )
        for number, job in network.jobs.items()
    ]


def groups_of(network: Network) -> tuple[str, ...]:
    """Return every group that a job of the network names."""
    return tuple(dict.fromkeys(name for job in network.jobs.values() for name in group_names(job.GROUPS)))


def _parts(network: Network) -> dict[int, int]:
    """Return by job the smallest id of the jobs that it is joined to through non-ASYNC pipes."""
    parts = {number: number for number in network.jobs}
    changed = True
    while changed:
        changed = False
        for pipe in network.pipes.values():
            producer, consumer = network.producer(pipe.id), network.consumer(pipe.id)
            if pipe.ASYNC or producer is None or consumer is None or parts[producer._fission_id] == parts[consumer._fission_id]:
                continue
            parts[producer._fission_id] = parts[consumer._fission_id] = min(parts[producer._fission_id], parts[consumer._fission_id])
            changed = True
    return parts


def _window_blocks(network: Network) -> int:
    """Return the size of the network's windows in blocks.

    All are of one size: a job that holds its inputs back until a snapshot is stored fills the windows
    of all jobs before it.
    """
    keeps = any(getattr(job, "CHECKPOINT", None) is not None and job.inputs for job in network.jobs.values())
    return SNAPSHOT_WINDOW_BLOCKS if keeps else WINDOW_BLOCKS


def _max_queues(network: Network, job: BaseJob) -> dict[int, int]:
    found = {}
    for pipe in job.outputs:
        consumer = network.consumer(pipe.id)
        if consumer is not None and consumer.MAX_QUEUE and not pipe.ASYNC:
            found[pipe.id] = consumer.MAX_QUEUE
    return found


def _meets_executable(network: Network, pipe: int) -> bool:
    return any(hasattr(job, "EXECUTABLE") for job in (network.producer(pipe), network.consumer(pipe)))


def _repeats_blocks(job: BaseJob | None) -> bool:
    """Return whether a new incarnation of a job makes blocks again that an earlier one has sent."""
    return job is not None and job._fission_is_source and resumable(job)


def waits_for_itself(network: Network, pipe: int) -> bool:
    """Return whether an ASYNC pipe can close a cycle of waiting.

    It can if its consumer may wait, directly or through others, for its producer, while the
    producer may wait for the consumer to take blocks. A job waits for the producers of its
    non-ASYNC inputs, and for the consumers of its outputs to make room.
    """
    target, first = network.producer(pipe), network.consumer(pipe)
    waiting: list[Any] = [first] if first else []
    seen = set()
    while waiting:
        job = waiting.pop()
        if job is target:
            return True
        if job is None or job._fission_id in seen:
            continue
        seen.add(job._fission_id)
        waiting += [network.producer(one.id) for one in job.inputs if not one.ASYNC]
        waiting += [network.consumer(one.id) for one in job.outputs]
    return False
