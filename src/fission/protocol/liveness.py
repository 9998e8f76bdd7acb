"""Failure detector of nodes: decides from pulses (heartbeats) which nodes are up or lost.

Rules
    A node is expected at first, and up with its first pulse. It is lost when its silence exceeds
    `misses` pulse intervals, when its service leaves, or when a new incarnation of its service
    sends a pulse. A lost node that sends pulses again is up again.
    Only `LivenessTick` judges silence: a node is lost at the first tick with
    ``now > last pulse + misses * interval``. A shorter silence changes nothing, and a pulse that is
    handed in before that tick saves the node.
    Pulses of an older incarnation are dropped.

Late pulses
    One pulse does not bring a lost node back, because it may have waited in a buffer since before
    the loss. Neither does a burst of pulses that arrive at once. Two pulses at least half an
    interval apart do, unless the silence between them is a loss again. A new incarnation needs no
    such proof.

Absence of the client
    The client itself may have been stopped. While a node is up, `next_deadline` requests a tick at
    most one interval after the last event. If more than two intervals pass without any event, the
    client was away: it was stopped, or its loop was overloaded. An absence that its clock does not
    show, because the machine was suspended, is handed in as `Away`.
    Silence during an absence counts against no node: its pulses may still wait to be read or sent.
    For every node that is up, silence counts from the client's return. This happens at most
    `misses` times in one silence, so a client that is always late still detects its dead nodes.
    A shorter absence causes no loss of a node that sends pulses, provided that the shell hands in
    the pulses that have arrived before the tick.

Nodes of the client's machine
    A node on the client's own machine is not judged by silence (`Watch`): where many processes
    share few processors, silence only shows that the node had to wait. The kernel reports its death
    (`Left`) and knows whether its process is stopped: `Look` asks about a silent node, and the node
    is lost when the shell answers with `NodeStopped`. The client's own node is lost by its end
    alone, because no other node can replace it.

TQ
    The quality of the link to a node, used where nothing measures it: the share of the last 20
    expected pulses that arrived in time, times 255. One pulse is expected every interval; a gap of
    less than n and a half intervals means n - 1 missing pulses. A pulse within half an interval
    after another one is late or duplicated, and does not count. Absences of the client do not count
    either.

Times are in seconds of the client's own monotonic clock. One thread hands in the events and stamps
the pulses.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from fission.errors import LocalProtocolError
from fission.protocol.deadlines import Deadlines
from fission.protocol.liveness_messages import (
    TRANSITIONS,
    Away,
    Event,
    Expect,
    Instruction,
    Left,
    LivenessState,
    LivenessTick,
    Look,
    Lost,
    NewIncarnation,
    NodeEvent,
    NodeStopped,
    Pulse,
    Return,
    Silence,
    Up,
    Watch,
)

__all__ = [
    "MISSES",
    "TQ_PULSES",
    "TRANSITIONS",
    "Away",
    "Event",
    "Expect",
    "Instruction",
    "Left",
    "Liveness",
    "LivenessState",
    "LivenessTick",
    "Look",
    "Lost",
    "NewIncarnation",
    "NodeEvent",
    "NodeStopped",
    "Pulse",
    "Return",
    "Silence",
    "Up",
    "Watch",
]

#: Number of pulses that a node may miss before it is lost, as documented for users.
MISSES = 5
#: Number of expected pulses that TQ covers. Arbitrary: 2 s at the default interval of 0.1 s, near the 3 s of a node's other means.
TQ_PULSES = 20
#: Number of state changes that a node's history keeps for error messages. Arbitrary.
HISTORY_EVENTS = 8


@dataclass(slots=True)
class _Node:
    state: LivenessState
    watch: Watch = Watch.PULSES
    incarnation: int = 0
    last: float = 0.0  # time of the last pulse
    silent_until: float = 0.0  # last time at which its silence is acceptable
    excuses: int = 0  # absences of the client in this silence
    back_since: float | None = None  # time of the first pulse since it was lost; None in every other state
    counted: float | None = None  # time from which the next expected pulse is counted; None before the first
    heard: deque[bool] = field(default_factory=lambda: deque(maxlen=TQ_PULSES))
    history: deque[str] = field(default_factory=lambda: deque(maxlen=HISTORY_EVENTS))


class Liveness:
    """State machine that decides which nodes are up.

    Hand in each event with the time, and perform the instructions in order. Hand in a
    `LivenessTick` at `next_deadline`, after everything else that has arrived by then. Earlier and
    repeated ticks are harmless.
    """

    def __init__(self, pulse_interval_s: float, misses: int = MISSES) -> None:
        """Create the state machine, without nodes.

        Args:
            pulse_interval_s: interval between two pulses of a node, in seconds.
            misses: number of pulses that a node may miss.

        Raises:
            LocalProtocolError: the interval is not positive, or ``misses`` is below 1.
        """
        if not 0 < pulse_interval_s < math.inf or misses < 1:
            raise LocalProtocolError(f"the pulse interval must be positive, misses at least 1; got {pulse_interval_s!r} s and {misses!r}")
        self._interval = pulse_interval_s
        self._misses = misses
        self._allowed = misses * pulse_interval_s
        self._nodes: dict[str, _Node] = {}
        self._silences = Deadlines[str](self._judged_at)  # of the nodes that are up
        self._now = -math.inf  # time of the last event

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Process an event and return the instructions that follow from it.

        Args:
            event: the event.
            now: current time, in monotonic seconds; not before that of the previous event.

        Raises:
            LocalProtocolError: the node was not expected, or is expected a second time; the kernel
                does not judge it; its incarnation is below 1; or time goes back. Nothing has
                changed then.
        """
        if not self._now <= now < math.inf:
            raise LocalProtocolError(f"time must not go back or end: {event} at {now!r} after {self._now!r}")
        if isinstance(event, LivenessTick):
            self._pass_time(now)
            return [self._silent(name, node, now) for name, node in self._nodes.items() if self._is_silent(node, now)]
        if isinstance(event, Away):
            self._pass_time(now)
            self._excuse(now)
            return []
        if isinstance(event, Expect):
            state = self._next_state(event.node, self._nodes.get(event.node), Expect)
            self._pass_time(now)
            self._nodes[event.node] = _Node(state, event.watch)
            return []
        node = self._nodes.get(event.node)
        if node is None:
            raise self._illegal(event.node, None, type(event))
        if isinstance(event, NodeStopped):
            if node.state is LivenessState.UP and node.watch is not Watch.KERNEL:
                raise LocalProtocolError(f"node {event.node!r} is not judged by the kernel, but by {node.watch.value!r}")
            state = self._next_state(event.node, node, NodeStopped)
            self._pass_time(now)
            return [self._lose_silent(event.node, node, state, NodeStopped, now, "; its process is stopped")]
        if event.incarnation < 1:
            raise LocalProtocolError(f"incarnations are counted from 1; got {event}")
        self._pass_time(now)
        if self._is_stale(event, node):
            return []
        return self._left(event, node, now) if isinstance(event, Left) else self._pulse(event, node, now)

    def next_deadline(self) -> float | None:
        """Return the time of the next `LivenessTick`.

        None while no node is up whose silence matters. A tick at exactly that time moves the
        deadline to a later one, or to None.
        """
        earliest = self._silences.earliest
        if earliest is None:
            return None
        # nextafter: at silent_until itself the node is not lost yet, and the shell would tick there for ever
        return min(self._now + self._interval, math.nextafter(earliest, math.inf))

    def state(self, node: str) -> LivenessState:
        """Return the state of a node.

        Raises:
            LocalProtocolError: the node was never expected.
        """
        return self._known(node).state

    def tq(self, node: str, now: float) -> int:
        """Return the quality of the link to a node, 0 to 255; 0 before its first pulse.

        Raises:
            LocalProtocolError: the node was never expected.
        """
        known = self._known(node)
        if known.counted is None:
            return 0
        heard = [*known.heard, *[False] * self._missing(known, now)][-TQ_PULSES:]
        return round(255 * sum(heard) / len(heard))

    # decisions

    def _is_stale(self, event: Pulse | Left, node: _Node) -> bool:
        return event.incarnation < node.incarnation

    def _is_silent(self, node: _Node, now: float) -> bool:
        return node.state is LivenessState.UP and now > node.silent_until and node.watch is not Watch.END

    def _judged_at(self, name: str) -> float | None:
        """Return the last moment of acceptable silence of a node; None: its silence does not matter."""
        node = self._nodes[name]
        return node.silent_until if node.state is LivenessState.UP and node.watch is not Watch.END else None

    def _was_away(self, now: float) -> bool:
        return now > self._now + 2 * self._interval

    def _comes_back(self, node: _Node, now: float) -> bool:
        """Whether the pulses since the loss of a node, with this one, show that it is up."""
        return node.back_since is not None and now <= node.last + self._allowed and now >= node.back_since + self._interval / 2

    def _missing(self, node: _Node, now: float) -> int:
        """Return the number of missing pulses, at most as many as TQ covers.

        A pulse that may still arrive in time is not missing.
        """
        gap = 0.0 if node.counted is None else (now - node.counted) / self._interval
        return min(TQ_PULSES, max(0, math.floor(gap + 0.5) - 1))

    # steps

    def _pass_time(self, now: float) -> None:
        if self._was_away(now):
            self._excuse(now)
        self._now = now

    def _excuse(self, now: float) -> None:
        """Count silence from now on, after an absence of the client."""
        for node in self._nodes.values():
            if node.state is LivenessState.UP:
                node.counted = now
                if node.excuses < self._misses:
                    node.excuses += 1
                    node.silent_until = max(node.silent_until, now + self._allowed)

    def _pulse(self, event: Pulse, node: _Node, now: float) -> list[Instruction]:
        before, older, silence = node.state, node.incarnation, now - node.last
        kind: NodeEvent = Pulse
        if before is not LivenessState.EXPECTED and event.incarnation > older:
            kind = NewIncarnation
        elif before is LivenessState.LOST and self._comes_back(node, now):
            kind = Return
        state = self._next_state(event.node, node, kind)
        if state is LivenessState.LOST and (node.back_since is None or now > node.last + self._allowed):
            node.back_since = now
        self._count(node, now)
        node.incarnation, node.last, node.silent_until, node.excuses = event.incarnation, now, now + self._allowed, 0
        if kind is Pulse and before is not LivenessState.EXPECTED:
            return []
        self._enter(node, state, kind, now)
        self._silences.add(event.node)
        if before is LivenessState.EXPECTED:
            return [Up(event.node, event.incarnation, False, "first pulse")]
        if kind is Return:
            return [Up(event.node, event.incarnation, True, "its pulses have come back")]
        began = f"its service began anew (incarnation {event.incarnation} after {older})"
        up = Up(event.node, event.incarnation, True, began)
        if before is LivenessState.LOST:
            return [up]
        return [Lost(event.node, older, silence, began), up]

    def _count(self, node: _Node, now: float) -> None:
        """Count a pulse for TQ."""
        if node.counted is not None and now < node.counted + self._interval / 2:
            return
        node.heard.extend([False] * self._missing(node, now))
        node.heard.append(True)
        node.counted = now

    def _left(self, event: Left, node: _Node, now: float) -> list[Instruction]:
        state = self._next_state(event.node, node, Left)
        node.back_since = None  # later pulses must show that they are not late ones
        lost: list[Instruction] = [self._lose(event.node, node, state, Left, now, "it left")] if node.state is LivenessState.UP else []
        node.incarnation = event.incarnation  # may be newer: an incarnation that never sent a pulse
        return lost

    def _silent(self, name: str, node: _Node, now: float) -> Instruction:
        if node.watch is Watch.KERNEL:
            node.silent_until = now + self._interval  # then the kernel is asked again
            return Look(name)
        return self._lose_silent(name, node, self._next_state(name, node, Silence), Silence, now)

    def _lose_silent(self, name: str, node: _Node, state: LivenessState, kind: NodeEvent, now: float, more: str = "") -> Lost:
        reason = f"{self._misses} pulses missed: last one {now - node.last:.2f} s ago{more}"
        return self._lose(name, node, state, kind, now, reason)

    def _lose(self, name: str, node: _Node, state: LivenessState, kind: NodeEvent, now: float, reason: str) -> Lost:
        self._enter(node, state, kind, now)
        return Lost(name, node.incarnation, now - node.last, reason)

    def _enter(self, node: _Node, state: LivenessState, kind: NodeEvent, now: float) -> None:
        node.state = state
        node.back_since = None
        node.history.append(f"{kind.__name__} at {now:.3f} -> {state.name}")

    def _next_state(self, name: str, node: _Node | None, kind: NodeEvent) -> LivenessState:
        state = TRANSITIONS.get((node.state if node else None, kind))
        if state is None:
            raise self._illegal(name, node, kind)
        return state

    def _illegal(self, name: str, node: _Node | None, kind: NodeEvent) -> LocalProtocolError:
        held = node.state.name if node else "not expected"
        history = "; ".join(node.history) if node and node.history else "nothing"
        return LocalProtocolError(f"node {name!r} is {held}: {kind.__name__} is illegal. What happened before: {history}")

    def _known(self, name: str) -> _Node:
        if name not in self._nodes:
            raise LocalProtocolError(f"node {name!r} was never expected; there are {', '.join(self._nodes) or 'none'}")
        return self._nodes[name]
