"""Measures the quality of the links from one node to its peers with small probes.

A node probes its peers in turn, one probe at a time; a peer answers at once. A probe is lost until
its answer arrives, however late, but counts only when it is answered or `LOST_S` old. Over the last
`WINDOW` probes to a peer:

    quality = 255 * sqrt(answered / counted) * min(1, RTT_FREE_S / smallest round trip)

A probe and its answer travel in both directions, so the square root is the share that one direction
lets through. It is comparable with the share of pulses that arrive (`fission.protocol.liveness`).
The smallest round trip is that of the link itself; single round trips are longer when a machine is
busy.

Nothing is measured before any peer has answered: a firewall may block all probes.

**Bounds.** At most one probe per `FAST_GAP_S` while a peer is new, then one per `GAP_S`, regardless
of the number of peers; each peer gets at most one per `PEER_GAP_S`. A node answers the probes that
it receives, so on average it sends twice as many messages.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Number of probes that the quality covers. Arbitrary: 7.5 s at `PEER_GAP_S`.
WINDOW = 30
#: Number of probes to a peer that must count before its link is measured; they are sent faster. Arbitrary.
FIRST = 8
#: Seconds after which a probe counts as lost until its answer arrives. Arbitrary: above the round trips of a mesh.
LOST_S = 0.3
#: Seconds between two probes to any peers. Arbitrary: with answers about 5 kB/s per node.
GAP_S = 0.05
#: Seconds between two probes while a peer is new.
FAST_GAP_S = 0.02
#: Seconds between two probes to one peer.
PEER_GAP_S = 0.25
#: Round trip without effect on the quality, in seconds. Arbitrary: above those of wired and wireless local networks.
RTT_FREE_S = 0.02
MAX_QUALITY = 255


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node.

    Attributes:
        name: name of the node.
        lease: identity of its service's lease; measurements of another lease do not count.
    """

    name: str
    lease: str


@dataclass(frozen=True, slots=True)
class NodeLink:
    """Link from one node to another.

    Attributes:
        quality: quality of the link, 0 to 255.
        rtt_s: smallest round trip of the last probes, in seconds; None if none was answered.
    """

    quality: int
    rtt_s: float | None = None


@dataclass(slots=True)
class _Probe:
    number: int
    sent_at: float
    rtt_s: float | None = None


@dataclass(slots=True)
class _Way:
    probes: deque[_Probe] = field(default_factory=lambda: deque(maxlen=WINDOW))
    sent: int = 0


class LinkProber:
    """Prober of one node. ``now`` is in monotonic seconds and never goes back."""

    def __init__(self) -> None:
        """Begin without peers."""
        self._ways: dict[Peer, _Way] = {}
        self._next_at = -math.inf
        self._heard = False  # whether any peer has ever answered

    def set_peers(self, peers: Iterable[Peer]) -> None:
        """Set the peers; measurements of peers that stay are kept."""
        self._ways = {peer: self._ways.get(peer) or _Way() for peer in peers}

    def wait_s(self, now: float) -> float:
        """Return the seconds until `probe` may return the next probe."""
        return max(0.0, self._next_at - now)

    def probe(self, now: float) -> tuple[Peer, int] | None:
        """Return the peer to probe now and the number of the probe; None if no probe is due.

        No burst follows a pause.
        """
        if not self._ways or now < self._next_at:
            return None
        fresh = min(way.sent for way in self._ways.values()) < FIRST
        self._next_at = now + (FAST_GAP_S if fresh else max(GAP_S, PEER_GAP_S / len(self._ways)))
        peer, way = min(self._ways.items(), key=lambda item: self._turn(item[1], fresh))
        way.sent += 1
        way.probes.append(_Probe(way.sent, now))
        return peer, way.sent

    @staticmethod
    def _turn(way: _Way, fresh: bool) -> tuple[float, float]:
        """Sort key: new peers get their first probes before others; then the longest wait wins."""
        return (way.sent if fresh else 0, way.probes[-1].sent_at if way.probes else -math.inf)

    def answer(self, lease: str, number: int, now: float) -> None:
        """Register the answer of a peer to a probe; unknown answers are ignored."""
        for peer, way in self._ways.items():
            if peer.lease == lease:
                for probe in way.probes:
                    if probe.number == number and probe.rtt_s is None:
                        probe.rtt_s = now - probe.sent_at
                        self._heard = True

    def links(self, now: float) -> dict[str, NodeLink]:
        """Return the measured links, by name of the peer."""
        if not self._heard:
            return {}
        found = {peer.name: _link(way, now) for peer, way in self._ways.items()}
        return {name: link for name, link in found.items() if link is not None}


def _link(way: _Way, now: float) -> NodeLink | None:
    counted = [probe for probe in way.probes if probe.rtt_s is not None or now - probe.sent_at >= LOST_S]
    if len(counted) < FIRST:
        return None
    trips = [probe.rtt_s for probe in counted if probe.rtt_s is not None]
    if not trips:
        return NodeLink(0)
    rtt_s = min(trips)
    delay = min(1.0, RTT_FREE_S / rtt_s) if rtt_s > 0 else 1.0
    return NodeLink(round(MAX_QUALITY * math.sqrt(len(trips) / len(counted)) * delay), rtt_s)


def merged(probed: Mapping[str, NodeLink], qualities: Mapping[str, int]) -> dict[str, NodeLink]:
    """Return probed links with qualities from a better source than probes, such as the mesh itself.

    Round trips stay.

    Args:
        probed: links from `LinkProber.links`, by name of the node.
        qualities: better qualities, 0 to 255, by name of the node.
    """
    rtts = {name: link.rtt_s for name, link in probed.items()}
    return {**probed, **{name: NodeLink(quality, rtts.get(name)) for name, quality in qualities.items()}}
