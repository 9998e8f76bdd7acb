"""The interfaces between the decisions and the outside world, and what crosses them.

A job's process is handed a `Links`; the client is handed an `Engine`, a `Clock` and an `Observer`. Every interface has a real
implementation and an in-memory one under `fission.adapters`, held to one conformance suite.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NewType, Protocol, TypeAlias

from fission.core.nodes import NodeInfo
from fission.protocol.frames import Buffer

NodeName = NewType("NodeName", str)
JobId: TypeAlias = int
PipeId: TypeAlias = int
Seconds: TypeAlias = float


class Clock(Protocol):
    """Where `now` comes from."""

    def monotonic(self) -> Seconds:
        """Seconds since some moment in the past; never goes back. Never compared between machines."""
        ...


class Links(Protocol):
    """One job's ends of all its pipes.

    Guarantees: messages of one pipe arrive whole and in the order in which they were sent; sending never blocks (what bounds
    the traffic is the window) and works before the other end exists. `receive` belongs to the job's main thread, `control` to
    its control thread; `send` may be called by one thread at a time for each pipe, everything else by any thread.
    """

    def send(self, pipe: PipeId, frames: Sequence[Buffer]) -> None:
        """Send a data message to the consumer of an output pipe."""
        ...

    def receive(self, *, wait: bool = True) -> list[Buffer] | None:
        """Return the next data message of any input pipe; None if none is there (``wait=False``) or `wake` was called."""
        ...

    def wake(self) -> None:
        """Make a `receive` that waits, or the next one, return None."""
        ...

    def answer(self, pipe: PipeId, frame: Buffer) -> None:
        """Send a release to the producer of an input pipe."""
        ...

    def tell(self, frame: Buffer) -> None:
        """Send a word to the client, if there is one to tell."""
        ...

    def control(self, timeout: Seconds | None) -> list[Buffer] | None:
        """Return the next release or command for this job; None after ``timeout`` seconds (None: no limit) or `wake_control`.

        Where connections can break, the links themselves give the commands ``rewire`` (one did) and ``again`` (the one to the client did).
        May return None early.
        """
        ...

    def wake_control(self) -> None:
        """Make a `control` that waits, or the next one, return None."""
        ...

    def redirect(self, pipe: PipeId, address: str) -> None:
        """From now on an output's consumer, or an input's producer, is reached there; empty: at the same address, by a new connection."""
        ...

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where other machines reach this end: ``data`` and ``control``; empty if they cannot."""
        ...

    def close(self, linger: Seconds) -> None:
        """Give everything back; what was sent still goes out for up to ``linger`` seconds. Calling it twice is right."""
        ...


class Lease(Protocol):
    """A big buffer in shared memory, there for its readers for as long as somebody keeps the lease.

    Attributes:
        nbytes: its length.
        readers: outputs that it was lent for.
    """

    nbytes: int
    readers: Collection[int]

    @property
    def handed_on(self) -> bool:
        """Whether it is in the memory of another job, which this one got it from."""
        ...

    def view(self) -> memoryview:
        """Return the buffer itself; it is as it was lent for as long as somebody keeps the lease."""
        ...

    def pack(self, reader: int) -> bytes:
        """Return what travels to a reader instead of the buffer."""
        ...


class Lender(Protocol):
    """The producer's side of shared memory for big buffers; its readers are its outputs, numbered from 0."""

    refused: int

    def lend(self, buffer: Any, readers: Sequence[int] | None = None) -> Lease | None:
        """Copy a buffer for some readers (by default all); None if there is no room, so that it must go another way."""
        ...

    def forget_reader(self, reader: int, incarnation: int) -> None:
        """A reader lives its ``incarnation``: what older lives of it hold does not count any more."""
        ...

    def close(self) -> None:
        """Give the memory back; what readers hold stays theirs."""
        ...


class Taken(Protocol):
    """A block of shared memory that a job holds."""

    @property
    def producer(self) -> JobId:
        """The job that has put it there."""
        ...

    @property
    def taken_for(self) -> Any:
        """What `Viewer.get` was told."""
        ...

    def lease(self, numbers: Mapping[int, int]) -> Lease:
        """Hand it on to some outputs; ``numbers``: of each of them, as the producer numbers its readers."""
        ...


class Viewer(Protocol):
    """The consumer's side of it."""

    def get(self, descriptor: Any, taken_for: Any = None) -> memoryview:
        """Return the buffer, read-only; it is there as long as anything refers to it. Raises RemoteProtocolError."""
        ...

    def taken(self, buffer: memoryview) -> Taken | None:
        """Return what a buffer is the whole of, if it is one that `get` has given."""
        ...

    def close(self) -> None:
        """Give back what nobody refers to."""
        ...


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where one life of a job listens and whom it speaks to.

    Attributes:
        data: address at which it receives data messages.
        control: address at which it receives releases and commands.
        outputs: per output pipe the ``data`` address of its consumer.
        inputs: per input pipe the ``control`` address of its producer.
        client: address of the client; empty if nobody is to be told.
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
    """What only the node knows of where a life of a job works.

    Attributes:
        folder: the job's own folder, its working directory; exists.
        sys_path: folders to put in front of ``sys.path``.
        log_file: file that the runtime's log is appended to; empty for none.
        run_folder, ip, keys: as in `Wiring`.
        client: as in `Wiring`; empty: as the bundle has it.
        shared_prefix: of the names of this node in shared memory.
    """

    folder: str
    sys_path: tuple[str, ...]
    log_file: str
    run_folder: str
    ip: str
    keys: str
    client: str = ""
    shared_prefix: str = ""


@dataclass(frozen=True, slots=True)
class JobBundle:
    """Everything that a job's process needs to start.

    Attributes:
        job_id: of the job.
        name: of the job, as shown: class and id.
        incarnation: which life of the job this is, from 1.
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
        generation: of the numbering with which a source begins; what is older is under way no more.
        closed: output pipes whose consumer has finished.
        snapshots: (generation, block, state) of every snapshot of earlier lives that is stored.
        shared: import strings of the `Lender` and of the `Viewer`; empty where there is no shared memory.
        shared_prefix: of the names of the run in shared memory.
        consumers: incarnation of the consumer, by output pipe.
        handed_on: by job, for each output that blocks in its shared memory may be handed on to, the number among its readers.
        behind: readers of this job's shared memory behind its outputs.
        guard: import strings of what reads a folder of keys, and of what encrypts the links between machines with them.
        kept: of ASYNC inputs, what an earlier life was given last and their producers have no more, by pipe (`fission.runtime.specs`).
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
    snapshots: tuple[tuple[int, int, bytes], ...] = ()
    shared: tuple[str, ...] = ()
    shared_prefix: str = ""
    consumers: Mapping[PipeId, int] = field(default_factory=dict)
    needed: Mapping[PipeId, int] = field(default_factory=dict)
    kept: Mapping[PipeId, bytes] = field(default_factory=dict)
    guard: tuple[str, ...] = ()
    handed_on: Mapping[JobId, Mapping[int, int]] = field(default_factory=dict)
    behind: int = 0

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
        )


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
class Baggage:
    """What goes to a node before a job: the project's code, and the job's DEPENDENCIES if it has a directory of them."""

    code: Archive
    dependencies: Archive | None = None


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as its engine sees it."""

    name: NodeName
    ip: str = ""
    jobs: frozenset[JobId] = frozenset()


@dataclass(frozen=True, slots=True)
class JobOutput:
    """A job wrote lines to its standard output or error.

    Attributes:
        stream: "stdout" or "stderr".
        lines: without their newlines.
    """

    job_id: JobId
    stream: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobExited:
    """A job's process has ended; all its output was reported before.

    Attributes:
        code: its exit code; negative: the signal that killed it.
        report: what the job's runtime said at the end (see `fission.runtime.report`); empty if it could not.
    """

    job_id: JobId
    incarnation: int
    code: int
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodePulse:
    """A node is alive.

    Attributes:
        incarnation: which life of the node's service it is, from 1.
        means: what of `core.nodes.NodeInfo` it has measured, by the names there; may be empty.
    """

    name: NodeName
    incarnation: int = 1
    means: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """A node that the client did not know is there, or a known one with other properties; its first pulse follows.

    Attributes:
        lives: (job, incarnation) of what still runs there of this run of the network.
    """

    name: NodeName
    ip: str
    groups: tuple[str, ...]
    max_jobs: int
    incarnation: int = 1
    lives: tuple[tuple[JobId, int], ...] = ()


@dataclass(frozen=True, slots=True)
class EngineNotice:
    """Something that the user should know."""

    text: str


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A node's service has ended, or what carried its connection saw it end; its jobs are dead or will stop by themselves.

    Attributes:
        reason: why it was judged so.
    """

    name: NodeName
    reason: str
    incarnation: int = 1


EngineEvent: TypeAlias = "JobOutput | JobExited | NodeJoined | NodePulse | NodeGone | EngineNotice"


class Engine(Protocol):
    """Who hosts job processes. All calls come from one asyncio loop."""

    async def open(self) -> None:
        """Start what is needed; afterwards `nodes` has entries. Raises EngineError."""
        ...

    def nodes(self) -> Mapping[NodeName, NodeState]:
        """The nodes that are up."""
        ...

    def events(self) -> AsyncIterator[EngineEvent]:
        """What happens, in order, until `close`. Only one caller."""
        ...

    async def launch(self, job: JobBundle, node: NodeName) -> None:
        """Start a job on a node; returns when the order was given. Its end is an event, also if it could not start."""
        ...

    async def stop(self, job: JobId, incarnation: int, node: NodeName, *, grace: Seconds) -> None:
        """Ask a life of a job to stop (its ``finally`` blocks run); after ``grace`` seconds it is killed. Its end is an event."""
        ...

    async def lost(self, node: NodeName) -> None:
        """The client has judged a node dead: orders that wait for it are dropped."""
        ...

    async def close(self) -> None:
        """Kill what still runs and give everything back: no process of ours is left. Calling it twice is right."""
        ...


class CheckpointStore(Protocol):
    """The client's store of snapshots, and of values of ASYNC inputs. What was put is there after a crash of the client."""

    def put(self, job: JobId, generation: int, block: int, state: bytes) -> None:
        """Keep a snapshot. Raises OSError if it cannot."""
        ...

    def prune(self, job: JobId, generation: int, block: int) -> None:
        """Forget the job's snapshots before that one: it is stable."""
        ...

    def load(self, job: JobId) -> list[tuple[int, int, bytes]]:
        """Return (generation, block, state) of the job's snapshots, oldest first."""
        ...

    def keep(self, job: JobId, pipe: PipeId, group: bytes) -> None:
        """Keep what an ASYNC input of the job was given last, in place of what was kept of it before. Raises OSError if it cannot."""
        ...

    def kept(self, job: JobId) -> dict[PipeId, bytes]:
        """Return what is kept of the job's ASYNC inputs."""
        ...


class Observer:
    """Hooks of a run, all no-op: subclass what you need. Called in the client's thread; they must not block.

    ``job`` is the job's name as shown (class and id) everywhere.
    """

    def job_started(self, job: str, job_id: JobId) -> None:
        """Called when the order to start a job was given."""

    def nodes_ready(self, nodes: Sequence[NodeInfo], missing: Sequence[str]) -> None:
        """Called once, before the first job starts, with all nodes and the names of those that are not up."""

    def job_placed(self, job: str, job_id: JobId, node: str) -> None:
        """Called each time a life of a job is ordered to start on a node."""

    def job_output(self, job: str, job_id: JobId, stream: str, line: str) -> None:
        """Called for each line of a job; ``stream`` is "stdout" or "stderr"; no newline at the end."""

    def job_ended(self, job: str, job_id: JobId, outcome: str) -> None:
        """Called when a job is over without a failure: "finished", "ended" (returned None) or "stopped"."""

    def job_failed(self, job: str, job_id: JobId, report: str) -> None:
        """Called when a job failed; ``report`` are the user's frames and the error, in several lines."""

    def failover(self, text: str) -> None:
        """Called when something was lost and all that it took runs again; one line."""

    def notice(self, text: str) -> None:
        """Called with something that is good to know, one line."""

    def warning(self, text: str) -> None:
        """Called with something that deserves a look, one line."""
