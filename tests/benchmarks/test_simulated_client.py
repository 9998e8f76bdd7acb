"""What an event costs the client does not grow with the network: counted in executed byte code, not in time.

The client is the real one; benchmarks/simulated_client.py hands in what nodes and jobs would send.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from benchmarks.simulated_client import SimulatedClient, many_jobs
from fission.client.run.coordinator import Coordinator
from fission.protocol.liveness import Liveness
from fission.protocol.progress import Progress

#: Eight times the nodes and jobs may cost an event this much more: a logarithm, and the growth of containers.
GROWTH = 1.35
SMALL, LARGE = (4, 40), (32, 320)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The network's own log goes to no file here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def executed(work: Callable[[], Awaitable[Any]]) -> int:
    """Return the number of byte code instructions that this thread executes meanwhile."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        await work()
    finally:
        sys.settrace(None)
    return count


async def costs(size: tuple[int, int], folder: Path) -> dict[str, float]:
    """Return the instructions of the start, of a pulse and of a report."""
    nodes, jobs = size
    client = SimulatedClient(many_jobs(jobs), nodes, folder)
    start, found = 0, {}
    running = client.running()

    async def begin() -> None:
        await running.__aenter__()

    try:
        start = await executed(begin)
        found = {
            "start, a job": start / jobs,
            "pulse": await executed(lambda: client.pulses(2)) / (2 * nodes),
            "report": await executed(lambda: client.reports(jobs)) / jobs,
        }
    finally:
        await running.__aexit__(None, None, None)
    return found


def growth(folder: Path) -> dict[str, float]:
    """Return by what factor each cost grows."""
    (folder / "small").mkdir()
    (folder / "large").mkdir()
    small = asyncio.run(costs(SMALL, folder / "small"))
    large = asyncio.run(costs(LARGE, folder / "large"))
    return {what: large[what] / small[what] for what in small}


@pytest.mark.slow
def test_an_event_costs_the_same_in_a_large_network(tmp_path: Path) -> None:
    grown = growth(tmp_path)

    assert max(grown.values()) <= GROWTH, grown


def _looks_at_all_nodes(self: Liveness) -> float | None:
    return min((moment for name in self._nodes if (moment := self._judged_at(name)) is not None), default=None)


def _looks_at_all_jobs(self: Progress) -> float | None:
    return min((known.since + 1e9 for known in self._jobs.values()), default=None)


async def _makes_a_view(self: Coordinator, event: Any) -> None:
    self.known_nodes.view()
    await _supervise(self, event)


_supervise = Coordinator._supervise


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(120)
def test_looks_at_everything_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Liveness, "next_deadline", _looks_at_all_nodes)
    monkeypatch.setattr(Progress, "due", property(_looks_at_all_jobs))
    monkeypatch.setattr(Coordinator, "_supervise", _makes_a_view)

    grown = growth(tmp_path)
    assert min(grown.values()) > GROWTH
