"""Random networks of jobs in threads, with the smallest possible windows, by plain calculation.

Ways that part and meet again, several sources of different lengths, jobs that finish early,
BLOCK_COUNTs, small and large blocks: none of these may make the jobs wait for each other, and each
sink must receive what a plain calculation gives. The links are in memory, because the tests look
for faults in the jobs and not in the transport.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fission.core.base import BaseJob, collecting
from fission.core.jobs import PythonJob
from fission.core.pipes import PicklePipe
from fission.protocol.inputs import InputCounts
from fission.runtime.codec import OUT_OF_BAND_BYTES
from tests.conformance.networks import Network, Sink, Source
from tests.conformance.places import MemoryPlace

#: Source blocks in one compute block of a job; each divides the next, so all rates fit.
SCALES = (1, 2, 6)


class Big(PicklePipe):
    """Carries one large buffer beside each value."""

    def pack(self, value: Any) -> Any:
        return value, bytearray(OUT_OF_BAND_BYTES)

    def unpack(self, packed: Any) -> Any:
        value, buffer = packed
        assert len(buffer) == OUT_OF_BAND_BYTES
        return value


@dataclass(frozen=True)
class Node:
    """One job of a plan.

    Attributes:
        inputs: indexes of the nodes that feed it, each through its own pipe.
        scale: number of source blocks in one of its compute blocks.
        length: number of values of a source; for other jobs, compute blocks after which the job
            finishes by itself, None: never.
        big: whether its outputs are `Big`.
    """

    inputs: tuple[int, ...]
    scale: int
    length: int | None
    big: bool


@st.composite
def plans(draw: st.DrawFn) -> list[Node]:
    sources = draw(st.integers(1, 2))
    nodes = [Node((), 1, draw(st.integers(0, 40)), draw(st.booleans())) for _ in range(sources)]
    for index in range(sources, sources + draw(st.integers(1, 4))):
        inputs = tuple(draw(st.lists(st.integers(0, index - 1), min_size=1, max_size=2)))
        at_least = max(nodes[one].scale for one in inputs)
        scale = draw(st.sampled_from([scale for scale in SCALES if scale >= at_least]))
        nodes.append(Node(inputs, scale, draw(st.sampled_from([None, None, None, 1, 3])), draw(st.booleans())))
    return nodes


def calculated(nodes: list[Node]) -> list[list[Any]]:
    """Return what each node sends or, if it has no outputs, receives."""
    found: list[list[Any]] = []
    for index, node in enumerate(nodes):
        if not node.inputs:
            found.append([[index, number] for number in range(node.length or 0)])
            continue
        columns = []
        for one in node.inputs:
            size = node.scale // nodes[one].scale
            groups = [found[one][start : start + size] for start in range(0, len(found[one]) - size + 1, size)]
            columns.append(groups if size > 1 else [group[0] for group in groups])
        rows = list(zip(*columns, strict=False))
        found.append([[index, *row] for row in (rows if node.length is None else rows[: node.length])])
    return found


class Step(PythonJob):
    """Sends what it receives, and finishes after its length."""

    def __init__(self, index: int, length: int | None, inputs: list[Any], outputs: list[Any]) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.index, self.left = index, length

    def run(self, *values: Any) -> Any:
        if self.left is not None:
            self.left -= 1
            if not self.left:
                self.finish()
        return [self.index, *values]


class End(Sink):
    """Keeps what it receives, and finishes after its length."""

    def __init__(self, index: int, length: int | None, inputs: list[Any]) -> None:
        super().__init__(inputs)
        self.index, self.left = index, length

    def run(self, *values: Any) -> None:
        self.got.append([self.index, *values])
        if self.left is not None:
            self.left -= 1
            if not self.left:
                self.finish()


def needed(nodes: list[Node]) -> int:
    """Return the number of blocks that the most demanding pipe must hold.

    That is what its consumer takes at once, for as many compute blocks as it must hold back. A job
    holds back its inputs until its outputs are released, which happens when the next job has a
    whole compute block.
    """
    held = [1] * len(nodes)
    most = 1
    for index in reversed(range(len(nodes))):
        for one in nodes[index].inputs:
            blocks = nodes[index].scale // nodes[one].scale * held[index]
            held[one] = max(held[one], blocks)
            most = max(most, blocks)
    return most


def run_plan(nodes: list[Node]) -> None:
    expected = calculated(nodes)
    place = MemoryPlace()
    with collecting() as registry:
        numbers = count(1)
        pipes: dict[tuple[int, int, int], Any] = {}  # (from, to, which of its inputs)
        for index, node in enumerate(nodes):
            for position, one in enumerate(node.inputs):
                kind = type("Counted", (Big if nodes[one].big else PicklePipe,), {"BLOCK_COUNT": node.scale // nodes[one].scale})
                pipes[one, index, position] = kind(next(numbers))
        jobs: list[BaseJob] = []
        for index, node in enumerate(nodes):
            inputs = [pipes[one, index, position] for position, one in enumerate(node.inputs)]
            outputs = [pipe for (one, _, _), pipe in pipes.items() if one == index]
            if not node.inputs:
                jobs.append(Source(expected[index], outputs))
            elif outputs:
                jobs.append(Step(index, node.length, inputs, outputs))
            else:
                jobs.append(End(index, node.length, inputs))
    assert not registry.faults
    connected = [job for job in jobs if job.inputs or job.outputs]
    try:
        counts = Network(place, connected, blocks=2 * needed(nodes)).run()
    finally:
        place.close()
    for index, job in enumerate(jobs):
        if isinstance(job, End):
            assert job.got == expected[index]
    assert all(one == InputCounts(received=one.received, unmatched=one.unmatched) for one in counts.values())


@settings(max_examples=60, deadline=None)
@given(plans())
def test_every_sink_gets_what_a_calculation_gives(nodes: list[Node]) -> None:
    run_plan(nodes)
