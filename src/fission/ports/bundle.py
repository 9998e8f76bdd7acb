"""What a job's process receives, and what its node needs for it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from fission.ports.names import JobId, PipeId


@dataclass(frozen=True, slots=True)
class Wiring:
    """The addresses of one incarnation of a job and of its neighbours.

    The address of a neighbour is empty while it is unknown; a command to wire the pipe will follow.

    Attributes:
        data: address at which it receives data messages.
        control: address at which it receives releases and commands.
        outputs: ``data`` address of the consumer, by output pipe.
        inputs: ``control`` address of the producer, by input pipe.
        client: address of the client; empty if there is none to report to.
        run_folder: folder that replaces the ``@`` in ``ipc://@/...``, in these and later addresses.
        ip: address of this machine at which it listens for other machines too; empty: it does not.
        keys: folder with the network's keys, which encrypt all traffic between machines; empty: no
            encryption.
    """

    data: str
    control: str
    outputs: Mapping[PipeId, str]
    inputs: Mapping[PipeId, str]
    client: str = ""
    run_folder: str = ""
    ip: str = ""
    keys: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """The properties of an incarnation's place that only the node knows.

    Attributes:
        folder: the job's own folder, its working directory; exists.
        sys_path: folders to prepend to ``sys.path``.
        log_file: file that the runtime's log is appended to; empty for none.
        run_folder: as in `Wiring`.
        ip: as in `Wiring`.
        keys: as in `Wiring`.
        client: as in `Wiring`; empty: as in the bundle.
        shared_prefix: prefix of this node's names in shared memory.
        snapshot_folder: folder for the snapshots that the job requests; empty: the client's own
            files are on this machine.
    """

    folder: str
    sys_path: tuple[str, ...]
    log_file: str
    run_folder: str
    ip: str
    keys: str
    client: str = ""
    shared_prefix: str = ""
    snapshot_folder: str = ""


@dataclass(frozen=True, slots=True)
class JobBundle:
    """Everything that a job's process needs to start.

    Attributes:
        job_id: id of the job.
        name: name of the job in messages: class and id.
        incarnation: incarnation of the job, from 1.
        folder: the job's own folder, its working directory; exists.
        sys_path: folders to prepend to ``sys.path``, the project first.
        log_file: file that the runtime's log is appended to; empty for none.
        log_level: name of a `logging` level.
        links: import string ``module:factory``; the factory takes the wiring and returns the
            `Links`.
        wiring: addresses of the job and its neighbours.
        feedback: ASYNC input pipes that are part of a cycle of jobs, or whose producer and
            consumer depend on each other in other ways.
        max_queues: MAX_QUEUE of the consumer, by output pipe; only where it is not 0.
        needed: number of blocks that must fit into the window, by output pipe; where it is missing,
            twice the pipe's BLOCK_COUNT.
        plain: output and input pipes whose blocks must have the format of `pipe.write`, because one
            end is an executable.
        head_size: size of heads in bytes.
        window_blocks: limit of a link's window in blocks.
        window_bytes: limit of a link's window in bytes.
        pickled_job: the pickled job; only the job's own process unpickles it.
        generation: generation in which a source begins to number; older blocks are no longer in
            transit.
        closed: output pipes whose consumer has finished.
        snapshots: (generation, block) of every stored snapshot of earlier incarnations.
        snapshot_folder: folder of the snapshot files ``GENERATION.BLOCK``, which
            `fission.durable.read_snapshot` reads.
        snapshots_far: whether the snapshots are on another machine: the job requests the one that
            it needs, and its state appears in the folder as a file.
        damaged: defect of each stored snapshot that cannot be used, by generation and block.
        shared: import strings of the `SharedWriter` and the `SharedReader`; empty without shared
            memory.
        shared_prefix: prefix of the run's names in shared memory.
        consumers: incarnation of the consumer, by output pipe.
        handed_on: by job, for each output that blocks in its shared memory may be handed on to, the
            number among its readers.
        network: name of the network, as `ps` shows it.
        downstream: number of readers of this job's shared memory after its outputs.
        timed: input and output pipes whose blocks carry times.
        asks_times: those of them whose producer is a source that makes blocks again with the same
            numbers.
        guard: import strings of the function that reads a folder of keys and of the one that
            encrypts the links between machines with them.
        kept: by ASYNC input pipe, the blocks that an earlier incarnation was given last and that
            the producer no longer has (`fission.runtime.specs`); by output pipe, the information
            that an earlier incarnation left for its successors.
    """

    job_id: JobId
    name: str
    incarnation: int
    folder: str
    sys_path: tuple[str, ...]
    log_file: str
    log_level: str
    links: str
    wiring: Wiring
    feedback: frozenset[PipeId]
    max_queues: Mapping[PipeId, int]
    plain: frozenset[PipeId]
    head_size: int
    window_blocks: int
    window_bytes: int
    pickled_job: bytes
    generation: int = 0
    closed: frozenset[PipeId] = frozenset()
    snapshots: tuple[tuple[int, int], ...] = ()
    shared: tuple[str, ...] = ()
    shared_prefix: str = ""
    consumers: Mapping[PipeId, int] = field(default_factory=dict)
    needed: Mapping[PipeId, int] = field(default_factory=dict)
    kept: Mapping[PipeId, bytes] = field(default_factory=dict)
    guard: tuple[str, ...] = ()
    handed_on: Mapping[JobId, Mapping[int, int]] = field(default_factory=dict)
    downstream: int = 0
    damaged: Mapping[tuple[int, int], str] = field(default_factory=dict)
    network: str = ""
    snapshot_folder: str = ""
    snapshots_far: bool = False
    timed: frozenset[PipeId] = frozenset()
    asks_times: frozenset[PipeId] = frozenset()

    def at(self, place: Place) -> JobBundle:
        """Return the bundle adapted to a place that the client does not know."""
        wiring = replace(self.wiring, run_folder=place.run_folder, ip=place.ip, keys=place.keys, client=place.client or self.wiring.client)
        return replace(
            self,
            folder=place.folder,
            sys_path=tuple(place.sys_path),
            log_file=place.log_file,
            wiring=wiring,
            shared_prefix=place.shared_prefix or self.shared_prefix,
            snapshot_folder=place.snapshot_folder or self.snapshot_folder,
            snapshots_far=bool(place.snapshot_folder),
        )


def job_payload(pickled: bytes, place: Place | None) -> bytes:
    """Return the payload that a fork server passes to a job's process.

    It is the place as JSON, a newline, and the bundle.

    Args:
        pickled: the pickled `JobBundle`.
        place: the job's place; None: as in the bundle.
    """
    return json.dumps(None if place is None else asdict(place)).encode() + b"\n" + pickled


def bundle_of(payload: bytes) -> JobBundle:
    """Return the bundle from a payload, adapted to its place.

    Call it only in the job's own process: it imports the user's classes.
    """
    line = payload.index(b"\n")
    place = json.loads(payload[:line])
    bundle: JobBundle = pickle.loads(memoryview(payload)[line + 1 :])
    return bundle if place is None else bundle.at(Place(**place))


@dataclass(frozen=True, slots=True)
class Archive:
    """A packed set of files that a job needs on its node; sent there once.

    Attributes:
        digest: hash of the content in hex digits; the same files have the same digest.
        content: compressed tar file.
    """

    digest: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class JobArchives:
    """The archives that a node receives before a job.

    They hold the project's code and, if the job has a directory of them, its DEPENDENCIES.
    """

    code: Archive
    dependencies: Archive | None = None
