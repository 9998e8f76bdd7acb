"""What the services of nodes send to each other: probes that measure the links between them, over
UDP.
"""

from __future__ import annotations

from typing import TypeAlias

from fission.protocol.messages.client_to_node import MAX_DATAGRAM_BYTES
from fission.protocol.messages.codec import Codec, Message, Whole


class LinkProbe(Message, frozen=True, tag="link_probe"):
    """Answer at once.

    Attributes:
        lease: identity of the sender's lease.
        number: counts the probes of the sender to this peer, from 1.
    """

    lease: str
    number: Whole


class LinkProbeEcho(Message, frozen=True, tag="link_probe_echo"):
    """The answer to one probe.

    Attributes:
        lease: identity of the sender's lease: of the node that was probed.
        number: of the probe.
    """

    lease: str
    number: Whole


ProbeMessage: TypeAlias = "LinkProbe | LinkProbeEcho"

PROBES: Codec[ProbeMessage] = Codec("node to node, datagrams", LinkProbe, LinkProbeEcho, max_bytes=MAX_DATAGRAM_BYTES)
