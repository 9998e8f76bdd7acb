"""Which nodes are up: liveness combined with this machine's kernel, engine and clocks."""

from __future__ import annotations

import time
from collections.abc import Callable

from fission.client.run.nodes.suspension import Suspension
from fission.ports import Engine, NodeGone, NodeName
from fission.protocol import liveness
from fission.protocol.supervision import NodeLost, NodeUp


class NodeWatch:
    """The nodes of one run."""

    def __init__(
        self, pulse_interval_s: float, engine: Engine, own: Callable[[str], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin without nodes.

        Args:
            pulse_interval_s: seconds between two pulses of a node.
            engine: hosts the jobs.
            own: returns whether a node is the client's own.
            clock: returns the time in seconds.
        """
        self._liveness = liveness.Liveness(pulse_interval_s)
        self._engine, self._own, self._clock = engine, own, clock
        self._suspended = Suspension()
        self._gone: dict[tuple[str, int], NodeGone] = {}  # by name and incarnation
        self._ended: dict[str, str] = {}  # reasons, by node

    def up(self, node: str) -> bool:
        """Return whether a node can be used."""
        return self._liveness.state(node) is liveness.LivenessState.UP

    def ended(self, node: str) -> str:
        """Return why a node of this machine has ended, and will not come back by itself; else empty."""
        return self._ended.get(node, "")

    def quality(self, node: str) -> int:
        """Return the share of the node's pulses that arrive, 0 to 255."""
        return self._liveness.tq(node, self._clock())

    @property
    def due(self) -> float | None:
        """The moment by which `tick` must be called; None if nothing depends on time."""
        return self._liveness.next_deadline()

    def expect(self, node: str) -> None:
        """Add a node to the network."""
        if self._engine.stopped(NodeName(node)) is None:
            watch = liveness.Watch.PULSES
        else:
            watch = liveness.Watch.END if self._own(node) else liveness.Watch.KERNEL
        self._handle(liveness.Expect(node, watch))

    def pulse(self, node: str, incarnation: int) -> list[NodeUp | NodeLost]:
        """Handle a pulse; return the resulting changes."""
        return self._handle(liveness.Pulse(node, incarnation))

    def gone(self, event: NodeGone) -> list[NodeUp | NodeLost]:
        """Handle the end of a node's service; return the resulting changes."""
        self._gone[event.name, event.incarnation] = event
        if self._engine.stopped(NodeName(event.name)) is not None:
            self._ended[event.name] = event.reason
        return self._handle(liveness.Left(event.name, event.incarnation))

    def tick(self) -> list[NodeUp | NodeLost]:
        """Handle the passing of time; return the resulting changes."""
        return self._handle(liveness.LivenessTick())

    def _handle(self, event: liveness.Event) -> list[NodeUp | NodeLost]:
        now = self._clock()
        instructions = []
        if away_s := self._suspended.passed():
            instructions += self._liveness.handle(liveness.Away(away_s), now)
        instructions += self._liveness.handle(event, now)
        found: list[NodeUp | NodeLost] = []
        while instructions:
            instruction = instructions.pop(0)
            if isinstance(instruction, liveness.Up):
                self._ended.pop(instruction.node, None)
                found.append(NodeUp(node=instruction.node))
            elif isinstance(instruction, liveness.Lost):
                gone = self._gone.pop((instruction.node, instruction.incarnation), None)
                reason = instruction.reason if gone is None else gone.reason
                found.append(NodeLost(node=instruction.node, reason=reason, on_purpose=gone is not None and gone.on_purpose))
            elif self._engine.stopped(NodeName(instruction.node)):
                instructions += self._liveness.handle(liveness.NodeStopped(instruction.node), now)
        return found
