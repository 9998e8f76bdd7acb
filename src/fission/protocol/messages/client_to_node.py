"""What a client sends to the service of a node: orders over Dask, each of which has one answer, and
answers to pulses over UDP.

`fission.protocol.messages.node_to_client` is the other direction.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from fission.protocol.messages.codec import Codec, Message, Part, Whole

#: A duration. Larger than any that is meant, and small enough for every clock.
Duration: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Port: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=65535)]
#: Bytes of an encoded order without the bytes that travel beside it. Arbitrary: above the list of peers of some thousand nodes.
MAX_ORDER_BYTES = 4 << 20
#: Bytes of a message in a datagram, which `fission.adapters.sealing` takes in one piece (`MAX_PAYLOAD`).
MAX_DATAGRAM_BYTES = 1024


class PeerNode(Part, frozen=True):
    """Another node of the run, as `SetPeers` lists it.

    Attributes:
        name: of the node.
        ip: its address.
        port: UDP port at which it answers probes.
        lease: identity of its lease.
    """

    name: str
    ip: str
    port: Port
    lease: str


class ClaimNode(Message, frozen=True, tag="claim_node"):
    """Lease the node to a run; answered with `NodeClaimed`. The same run may claim it again, after
    a broken connection.

    Attributes:
        run: identity of the run.
        client: identity of the client's process.
        network: its name.
        pulse_address: where pulses go: address and UDP port.
        report_address: ZeroMQ address for reports.
        interval_s: seconds between two pulses.
        orphan_timeout_s: seconds without the client after which the node stops its jobs.
        root: REMOTE_ROOT; empty: as the service says.
        versions: of Python, fission and Dask, by name.
        follow: whether the node reports what its jobs write.
        preload: names of the modules that the fork server of this lease imports (PRELOAD).
    """

    run: str
    client: str
    network: str
    pulse_address: tuple[str, Port]
    report_address: str
    interval_s: Annotated[float, msgspec.Meta(gt=0, le=1e12)]
    orphan_timeout_s: Duration
    root: str
    versions: dict[str, str]
    follow: bool
    preload: tuple[str, ...] = ()


class InspectNode(Message, frozen=True, tag="inspect_node"):
    """Report name, address and load, without a lease; answered with `NodeInspected`.

    Attributes:
        versions: of Python, fission and Dask, by name.
        root: REMOTE_ROOT; empty: as the service says.
        first: whether the means begin anew; else they are those since the order that was the first.
    """

    versions: dict[str, str]
    root: str
    first: bool


class InstallArchive(Message, frozen=True, tag="install_archive"):
    """Store the piece of an archive that travels beside the order, for the jobs of the lease;
    answered with `ArchiveProgress`.

    Attributes:
        digest: of the whole archive.
        start: offset of the piece, bytes.
        size: of the whole archive, bytes.
    """

    digest: str
    start: Whole
    size: Whole


class StoreArchive(Message, frozen=True, tag="store_archive"):
    """The same as `InstallArchive`, from a client that has no lease.

    Attributes:
        digest: of the whole archive.
        start: offset of the piece, bytes.
        size: of the whole archive, bytes.
        root: REMOTE_ROOT; empty: as the service says.
    """

    digest: str
    start: Whole
    size: Whole
    root: str


class RemoveNetwork(Message, frozen=True, tag="remove_network"):
    """Delete what the node stores of a network; answered with `NetworkRemoved`.

    Attributes:
        network: its name.
        root: REMOTE_ROOT; empty: as the service says.
    """

    network: str
    root: str


class LaunchJob(Message, frozen=True, tag="launch_job"):
    """Start a job; answered with `OrderDone` when the job has ended.

    A pickled `fission.ports.JobBundle` travels beside the order. The service never unpickles it:
    only the job's own process does.

    Attributes:
        run: identity of the run.
        job: its id.
        incarnation: from 1.
        code: digest of the archive with the network's code.
        dependencies: digest of the archive with its DEPENDENCIES; empty: it has none.
    """

    run: str
    job: Whole
    incarnation: Whole
    code: str
    dependencies: str = ""


class StopJob(Message, frozen=True, tag="stop_job"):
    """Stop one incarnation of a job; answered with `OrderDone` at once.

    Attributes:
        run: identity of the run.
        job: its id.
        incarnation: from 1.
        grace_s: seconds until it is killed.
    """

    run: str
    job: Whole
    incarnation: Whole
    grace_s: Duration


class InspectJob(Message, frozen=True, tag="inspect_job"):
    """Report whether the kernel lets a job's process run; answered with `JobInspected`.

    Attributes:
        run: identity of the run.
        job: its id.
        incarnation: from 1.
    """

    run: str
    job: Whole
    incarnation: Whole


class StoreSnapshot(Message, frozen=True, tag="store_snapshot"):
    """Store the piece of a snapshot that travels beside the order, for the incarnation that has
    asked for it; answered with `OrderDone`.

    Attributes:
        run: identity of the run.
        job: its id.
        incarnation: from 1.
        name: of the snapshot's file, ``GENERATION.BLOCK``.
        start: offset of the piece, bytes.
        state: "more" pieces follow, this is the last of a "whole" snapshot, or it is "lost" and the
            bytes are the reason, UTF-8.
    """

    run: str
    job: Whole
    incarnation: Whole
    name: str
    start: Whole
    state: Literal["more", "whole", "lost"]


class DismissNode(Message, frozen=True, tag="dismiss_node"):
    """The run is over: stop what is left of it, and end the lease; answered with `OrderDone`.

    Attributes:
        run: identity of the run; that of another run changes nothing.
    """

    run: str


class FollowOutput(Message, frozen=True, tag="follow_output"):
    """Report what jobs write from now on, or stop to; answered with `OrderDone`.

    Attributes:
        on: whether to report.
    """

    on: bool


class SetPeers(Message, frozen=True, tag="set_peers"):
    """Probe these nodes from now on; answered with `OrderDone`.

    Attributes:
        run: identity of the run.
        peers: the run's other nodes.
    """

    run: str
    peers: tuple[PeerNode, ...]


class ReadLog(Message, frozen=True, tag="read_log"):
    """Send the end of a network's log; answered with `LogTail`.

    Attributes:
        network: its name.
    """

    network: str


class PulseEcho(Message, frozen=True, tag="pulse_echo"):
    """The answer to one pulse.

    Attributes:
        number: of the pulse.
        acknowledged: number of the last exit report that the client has received.
        connected: whether the client has a connection to this lease of the node.
        reached: time on the client's clock when the pulse arrived, seconds; 0, as the next: unknown.
        answered: time on the client's clock when it answered, seconds.
    """

    number: Whole
    acknowledged: Whole
    connected: bool
    reached: float = 0.0
    answered: float = 0.0


Order: TypeAlias = (
    "ClaimNode | InspectNode | InstallArchive | StoreArchive | RemoveNetwork | LaunchJob | StopJob | InspectJob | StoreSnapshot"
    " | DismissNode | FollowOutput | SetPeers | ReadLog"
)

ORDERS: Codec[Order] = Codec(
    "client to node",
    ClaimNode,
    InspectNode,
    InstallArchive,
    StoreArchive,
    RemoveNetwork,
    LaunchJob,
    StopJob,
    InspectJob,
    StoreSnapshot,
    DismissNode,
    FollowOutput,
    SetPeers,
    ReadLog,
    max_bytes=MAX_ORDER_BYTES,
)
ECHOES: Codec[PulseEcho] = Codec("client to node, datagrams", PulseEcho, max_bytes=MAX_DATAGRAM_BYTES)
