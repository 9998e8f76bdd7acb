"""What a job's process is handed, and what its node needs for it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from fission.ports.names import JobId, PipeId


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where one incarnation of a job listens, and the addresses of its neighbours.

    Attributes:
        data: address at which it receives data messages.
        control: address at which it receives releases and commands.
        outputs: per output pipe the ``data`` address of its consumer.
        inputs: per input pipe the ``control`` address of its producer.
        client: address of the client; empty if there is none to report to.
        run_folder: stands for the ``@`` in ``ipc://@/...``, of the addresses above and of later ones.
        ip: address of this machine at which it listens for other machines too; empty: it does not.
        keys: folder with the network's keys, with which everything between machines is encrypted; empty: it is not.

    An address of a neighbour may be empty: it is not known yet, a command to wire the pipe will follow.
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
    """What only the node knows of where an incarnation of a job works.

    Attributes:
        folder: the job's own folder, its working directory; exists.
        sys_path: folders to put in front of ``sys.path``.
        log_file: file that the runtime's log is appended to; empty for none.
        run_folder, ip, keys: as in `Wiring`.
        client: as in `Wiring`; empty: as the bundle has it.
        shared_prefix: of the names of this node in shared memory.
        snapshot_folder: where snapshots that the job asks for appear; empty: the client's own files are on this machine.
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
        job_id: of the job.
        name: of the job, as shown: class and id.
        incarnation: of the job, from 1.
        folder: the job's own folder, its working directory; exists.
        sys_path: folders to put in front of ``sys.path``, the project first.
        log_file: file that the runtime's log is appended to; empty for none.
        log_level: name of a level of `logging`.
        links: import string ``module:factory``; the factory is called with the wiring and gives the `Links`.
        wiring: addresses.
        feedback: ASYNC input pipes that are part of a circle of jobs, or whose producer and consumer depend on each other in other ways.
        max_queues: MAX_QUEUE of the consumer, by output pipe, where it is not 0.
        needed: blocks that must fit into the window of an output pipe, by pipe; where it is missing, twice its BLOCK_COUNT.
        plain: output and input pipes whose blocks must be as `pipe.write` writes them, because an executable is at an end.
        head_size: of heads, in bytes.
        window_blocks: limit of a link's window in blocks.
        window_bytes: limit of a link's window in bytes.
        pickled_job: the job; only the job's own process unpickles it.
        generation: of the numbering with which a source begins; older blocks are no longer under way.
        closed: output pipes whose consumer has finished.
        snapshots: (generation, block) of every snapshot of earlier incarnations that is stored.
        snapshot_folder: folder of their files, named ``GENERATION.BLOCK``: records of `fission.durable`.
        snapshots_far: they are not on this machine: the job asks for the one that it needs, and its state appears there as a file.
        damaged: what is wrong with snapshots that were stored and cannot be used, by generation and block.
        shared: import strings of the `SharedWriter` and of the `SharedReader`; empty where there is no shared memory.
        shared_prefix: of the names of the run in shared memory.
        consumers: incarnation of the consumer, by output pipe.
        handed_on: by job, for each output that blocks in its shared memory may be handed on to, the number among its readers.
        network: its name, as `ps` shows it.
        behind: readers of this job's shared memory behind its outputs.
        guard: import strings of what reads a folder of keys, and of what encrypts the links between machines with them.
        kept: under an ASYNC input pipe, what an earlier incarnation was given last and its producer no longer has
            (`fission.runtime.specs`); under an output pipe, what an earlier incarnation wants its successors to know.
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
    behind: int = 0
    damaged: Mapping[tuple[int, int], str] = field(default_factory=dict)
    network: str = ""
    snapshot_folder: str = ""
    snapshots_far: bool = False

    def at(self, place: Place) -> JobBundle:
        """Return the bundle as it holds at a place of which the client knows nothing."""
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
    """Return what a fork server hands to a job's process: the place as JSON, a newline, the bundle.

    Args:
        pickled: the `JobBundle`.
        place: where the job works; None: the bundle says so.
    """
    return json.dumps(None if place is None else asdict(place)).encode() + b"\n" + pickled


def bundle_of(payload: bytes) -> JobBundle:
    """Return the bundle, at its place. For the job's own process: the user's classes are imported."""
    line = payload.index(b"\n")
    place = json.loads(payload[:line])
    bundle: JobBundle = pickle.loads(memoryview(payload)[line + 1 :])
    return bundle if place is None else bundle.at(Place(**place))


@dataclass(frozen=True, slots=True)
class Archive:
    """Files that a job needs on its node, packed; they travel there once.

    Attributes:
        digest: of the content, hex digits; the same files have the same one.
        content: a compressed tar file.
    """

    digest: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class JobArchives:
    """What goes to a node before a job: the project's code, and the job's DEPENDENCIES if it has a directory of them."""

    code: Archive
    dependencies: Archive | None = None
