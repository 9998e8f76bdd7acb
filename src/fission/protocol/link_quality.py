"""The quality of the ways from one node to the others, from small probes that are answered at once.

A node probes its peers in turn, one probe at a time. A probe is lost until its answer comes, however late that is, but counts only when it
is `LOST_S` old or answered. Of the last `WINDOW` probes to a peer:

    quality = 255 * sqrt(answered / counted) * min(1, RTT_FREE_S / smallest round trip)

A probe and its answer take both directions, so the square root is the share that one direction lets through, comparable with the share of
pulses that arrive (`fission.protocol.liveness`). The smallest round trip is the line's: a busy machine makes single ones long.

Nothing is measured before the first answer of any peer: where no probe has ever come back, a firewall may let none pass.

**Bounds.** At most one probe in `FAST_GAP_S`, while a peer is new, then one in `GAP_S`, whatever the number of peers; each peer at most one
in `PEER_GAP_S`. A node answers what it is sent, so it sends twice that on average.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Probes that the quality looks back on; arbitrary: at `PEER_GAP_S` 7.5 s.
WINDOW = 30
#: Probes to a peer that count before its way is measured, and that are sent faster; arbitrary.
FIRST = 8
#: Seconds after which a probe counts as lost until its answer comes; arbitrary, above the round trips of a mesh.
LOST_S = 0.3
#: Seconds between two probes, of whatever peers; arbitrary: with answers about 5 kB a second and node.
GAP_S = 0.05
#: The same while a peer is new.
FAST_GAP_S = 0.02
#: Seconds between two probes to one peer.
PEER_GAP_S = 0.25
#: Seconds of round trip that cost nothing; arbitrary, above those of wired and wireless local networks.
RTT_FREE_S = 0.02
MAX_QUALITY = 255


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node.

    Attributes:
        name: of the node.
        lease: identity of its service's lease; what was measured in another one does not count.
    """

    name: str
    lease: str


@dataclass(frozen=True, slots=True)
class NodeLink:
    """The way from one node to another.

    Attributes:
        quality: 0 to 255.
        rtt_s: the smallest round trip of the last probes, seconds; None: none was answered lately.
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
    """The probes of one node. ``now`` is in monotonic seconds and never goes back."""

    def __init__(self) -> None:
        """Begin without peers."""
        self._ways: dict[Peer, _Way] = {}
        self._next_at = -math.inf
        self._heard = False  # whether any peer has ever answered

    def set_peers(self, peers: Iterable[Peer]) -> None:
        """These are the peers from now on; what is known of those that stay is kept."""
        self._ways = {peer: self._ways.get(peer) or _Way() for peer in peers}

    def wait_s(self, now: float) -> float:
        """Seconds until `probe` may give the next one."""
        return max(0.0, self._next_at - now)

    def probe(self, now: float) -> tuple[Peer, int] | None:
        """Return the peer that gets a probe now, and the probe's number; None: none is due. No burst follows a pause."""
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
        """New peers get their first probes before others; then the one that waits for longest."""
        return (way.sent if fresh else 0, way.probes[-1].sent_at if way.probes else -math.inf)

    def answer(self, lease: str, number: int, now: float) -> None:
        """The answer of a peer to one of the probes has come; others are ignored."""
        for peer, way in self._ways.items():
            if peer.lease == lease:
                for probe in way.probes:
                    if probe.number == number and probe.rtt_s is None:
                        probe.rtt_s = now - probe.sent_at
                        self._heard = True

    def links(self, now: float) -> dict[str, NodeLink]:
        """What is measured, by the names of the peers."""
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
    """Links with the qualities that something better than probes has measured, such as the mesh itself; round trips stay.

    Args:
        probed: by name of the node, from `LinkProber.links`.
        qualities: by name of the node, 0 to 255.
    """
    rtts = {name: link.rtt_s for name, link in probed.items()}
    return {**probed, **{name: NodeLink(quality, rtts.get(name)) for name, quality in qualities.items()}}
