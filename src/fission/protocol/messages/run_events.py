"""What the client of a running network shows to the terminals that follow the run: one packet for
each event (`fission.protocol.messages.client_to_viewer`).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from fission.core.nodes import NodeInfo
from fission.protocol.messages.client_to_viewer import MAX_ANSWER_BYTES
from fission.protocol.messages.codec import Codec, Message, Whole


class ShowNodes(Message, frozen=True, tag="show_nodes"):
    """The network starts on these nodes.

    Attributes:
        nodes: as `fission.core.nodes.NodeInfo`.
        missing: what to do about each expected node that is not there, by its name.
    """

    nodes: tuple[NodeInfo, ...]
    missing: dict[str, str]


class ShowPlacement(Message, frozen=True, tag="show_placement"):
    """A job starts on a node.

    Attributes:
        job: its name.
        job_id: its id.
        node: name of the node.
        at: seconds since the epoch; 0: unknown.
    """

    job: str
    job_id: Whole
    node: str
    at: float = 0.0


class ShowStart(Message, frozen=True, tag="show_start"):
    """A job starts for the first time.

    Attributes:
        job: its name.
        job_id: its id.
    """

    job: str
    job_id: Whole


class ShowOutput(Message, frozen=True, tag="show_output"):
    """A job has written a line.

    Attributes:
        job: its name.
        job_id: its id.
        stream: "stdout" or "stderr".
        line: without the line break.
    """

    job: str
    job_id: Whole
    stream: str
    line: str


class ShowEnd(Message, frozen=True, tag="show_end"):
    """A job has ended without a failure.

    Attributes:
        job: its name.
        job_id: its id.
        outcome: how it ended.
        at: seconds since the epoch; 0: unknown.
    """

    job: str
    job_id: Whole
    outcome: str
    at: float = 0.0


class ShowFailure(Message, frozen=True, tag="show_failure"):
    """A job has failed.

    Attributes:
        job: its name.
        job_id: its id.
        report: what it failed with.
        final: whether this failure ends the network.
        at: seconds since the epoch; 0: unknown.
    """

    job: str
    job_id: Whole
    report: str
    final: bool
    at: float = 0.0


class ShowText(Message, frozen=True, tag="show_text"):
    """The user should know something.

    Attributes:
        kind: how it is shown.
        text: in words.
        at: seconds since the epoch; 0: unknown.
    """

    kind: Literal["failover", "notice", "warning"]
    text: str
    at: float = 0.0


class ShowSummary(Message, frozen=True, tag="show_summary"):
    """The network has ended; nothing follows.

    Attributes:
        lines: of the summary.
        exit_code: of the client.
    """

    lines: tuple[str, ...]
    exit_code: int


RunEvent: TypeAlias = "ShowNodes | ShowPlacement | ShowStart | ShowOutput | ShowEnd | ShowFailure | ShowText | ShowSummary"

EVENTS: Codec[RunEvent] = Codec(
    "client to viewer, events of the run",
    ShowNodes,
    ShowPlacement,
    ShowStart,
    ShowOutput,
    ShowEnd,
    ShowFailure,
    ShowText,
    ShowSummary,
    max_bytes=MAX_ANSWER_BYTES,
)
