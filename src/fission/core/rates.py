"""The rates that the BLOCK_COUNTs of a network imply, and their contradictions.

For each compute block a job takes BLOCK_COUNT blocks from every non-ASYNC input and sends one block
to every output (an executable: r blocks, its RATIO). So on each such pipe ``rate(destination) *
BLOCK_COUNT = rate(source) * r``; if r is unknown, there is no equation. Sources have no rate of
their own: back-pressure slows them down. A weighted union-find keeps the ratios of the jobs joined
so far; an equation between two jobs of one tree holds or is a contradiction. Jobs are visited in
the order of the stream, so a contradiction is found at the job where the paths meet.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm
from typing import TYPE_CHECKING

from fission.core.executable_job import output_ratio

if TYPE_CHECKING:
    from fission.core.base_job import BaseJob
    from fission.core.job_graph import JobGraph


def rate_warnings(network: JobGraph) -> list[str]:
    """Return a text for each job that takes two pipes with mismatched rates; empty while its
    classes have faults.
    """
    warnings = []
    rates = _Rates()
    for job in _in_stream_order(network):
        first = None
        for pipe in job.inputs:
            source = network.producer(pipe.id)
            if pipe.ASYNC or source is None or type(pipe.BLOCK_COUNT) is not int or pipe.BLOCK_COUNT < 1:
                continue
            ratio = _ratio(source)
            if ratio is None:
                continue
            surplus = rates.join(job._fission_id, source._fission_id, ratio / pipe.BLOCK_COUNT)
            if surplus != 1 and first is not None:
                fast, slow = (pipe, first) if surplus > 1 else (first, pipe)
                times = max(surplus, 1 / surplus)
                warnings.append(
                    f"{job._fission_name}: pipe {fast.id} brings {_number(times)} times as many compute blocks as pipe "
                    f"{slow.id}, so it runs ahead "
                    f"until its queue is full, and then blocks its producer; choose values of BLOCK_COUNT that match "
                    f"(now {fast.BLOCK_COUNT} and {slow.BLOCK_COUNT}), or take them in two jobs"
                )
            first = first or pipe
    return warnings


def needed_blocks(network: JobGraph) -> dict[int, int]:
    """Return how many blocks of each pipe its consumer may have to hold before it can release any.

    The consumer takes BLOCK_COUNT at once, and holds the inputs of a compute block until its
    outputs are released, that is until the next job has taken a whole compute block of its own, and
    so on. Where paths part and meet again, a join also holds the blocks of one path until the other
    has gathered its groups: so a *period* of each, after which all groups on these paths are whole,
    must fit. With a smaller window the network would deadlock.
    """
    periods = _periods(network)
    needed: dict[int, int] = {}
    for job in reversed(_in_stream_order(network)):
        # an ASYNC pipe that retains values keeps a group until it has the next one, and jobs after its consumer do not matter
        held = max((pipe.BLOCK_COUNT if pipe.ASYNC else needed[pipe.id] for pipe in job.outputs), default=1)
        ratio = _ratio(job)
        # with RATIO = None inputs are released when they are read; with any other, when whole groups of outputs are released
        held = 1 if ratio is None else -(-held // ratio.numerator) * ratio.denominator
        for pipe in job.inputs:
            needed[pipe.id] = max(periods.get(pipe.id, 1), pipe.BLOCK_COUNT * (1 if pipe.ASYNC else held))
    return needed


def _periods(network: JobGraph) -> dict[int, int]:
    """Return the blocks of each pipe in one period of the paths between its ends; pipes without
    parallel paths are left out.
    """
    ends = {}
    for pipe in network.pipes.values():
        producer, consumer = network.producer(pipe.id), network.consumer(pipe.id)
        if not pipe.ASYNC and producer is not None and consumer is not None and producer is not consumer:
            ends[pipe.id] = (producer._fission_id, consumer._fission_id)
    periods = {}
    for pipes in _meshes(ends):
        rates: dict[int, Fraction] = {}  # of jobs, in compute blocks
        fits = True
        waiting = [ends[pipes[0]][0]]
        rates[waiting[0]] = Fraction(1)
        while waiting and fits:
            number = waiting.pop()
            for pipe_id in pipes:
                source, target = ends[pipe_id]
                if number not in (source, target):
                    continue
                step = (
                    _likely_ratio(network.jobs[source]) / network.pipes[pipe_id].BLOCK_COUNT
                )  # rate of the consumer relative to the producer
                other, rate = (target, rates[number] * step) if number == source else (source, rates[number] / step)
                if other not in rates:
                    rates[other] = rate
                    waiting.append(other)
                fits = fits and rates[other] == rate
        if not fits:
            continue  # contradictory rates, about which `check` warns
        # the shortest time with whole compute blocks for every job and whole groups for every executable
        whole = [rates[job] / _likely_ratio(network.jobs[job]).denominator for job in rates]
        period = Fraction(lcm(*(rate.denominator for rate in whole)), gcd(*(rate.numerator for rate in whole)))
        for pipe_id in pipes:
            periods[pipe_id] = int(period * rates[ends[pipe_id][1]] * network.pipes[pipe_id].BLOCK_COUNT)
    return periods


def _likely_ratio(job: BaseJob) -> Fraction:
    """As `_ratio`, with a default of one block out for each block in."""
    count = next((pipe.BLOCK_COUNT for pipe in job.inputs if not pipe.ASYNC), 1)
    return _ratio(job) or Fraction(count if type(count) is int and count > 0 else 1)


def _meshes(ends: dict[int, tuple[int, int]]) -> list[list[int]]:
    """Return the pipes of each set of paths that part and meet again: biconnected components of
    more than one pipe.

    Tarjan's algorithm without recursion: jobs are numbered in the order of discovery, and `low` is
    the lowest number that a job reaches through back edges.
    """
    at: dict[int, list[tuple[int, int]]] = {}
    for pipe, (source, target) in ends.items():
        at.setdefault(source, []).append((pipe, target))
        at.setdefault(target, []).append((pipe, source))
    met: dict[int, int] = {}
    low: dict[int, int] = {}
    found: list[list[int]] = []
    for start in at:
        if start in met:
            continue
        met[start] = low[start] = len(met)
        taken: list[int] = []
        path = [(start, -1, iter(at[start]))]
        while path:
            job, came_by, ways = path[-1]
            for pipe, other in ways:
                if pipe == came_by:
                    continue
                if other not in met:
                    met[other] = low[other] = len(met)
                    taken.append(pipe)
                    path.append((other, pipe, iter(at[other])))
                    break
                if met[other] < met[job]:
                    taken.append(pipe)
                    low[job] = min(low[job], met[other])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[job])
                    if low[job] >= met[above]:
                        first = taken.index(came_by)
                        found.append(taken[first:])
                        del taken[first:]
    return [pipes for pipes in found if len(pipes) > 1]


def _ratio(job: BaseJob) -> Fraction | None:
    try:
        ratio = output_ratio(job)
    except (TypeError, ValueError):  # an invalid RATIO or BLOCK_COUNT, which is reported as a fault
        return None
    return ratio if ratio is None or ratio > 0 else None


class _Rates:
    def __init__(self) -> None:
        self._parents: dict[int, tuple[int, Fraction]] = {}  # job -> (another, rate of this / rate of that)

    def _root(self, job: int) -> tuple[int, Fraction]:
        ratio = Fraction(1)
        while job in self._parents:
            job, step = self._parents[job]
            ratio *= step
        return job, ratio

    def join(self, job: int, source: int, share: Fraction) -> Fraction:
        """Record that the rate of `job` is `share` times that of `source`; return its ratio to the
        known rate.
        """
        own, own_ratio = self._root(job)
        other, other_ratio = self._root(source)
        wanted = share * other_ratio
        if own == other:
            return wanted / own_ratio
        self._parents[own] = (other, wanted / own_ratio)
        return Fraction(1)


def _in_stream_order(network: JobGraph) -> list[BaseJob]:
    """Return every job after all jobs that feed it through non-ASYNC pipes; jobs on a cycle (a
    fault) are left out.
    """
    missing = {}
    for number, job in network.jobs.items():
        feeding = [network.producer(pipe.id) for pipe in job.inputs if not pipe.ASYNC]
        missing[number] = sum(source is not None for source in feeding)
    ready = [job for number, job in network.jobs.items() if not missing[number]]
    for job in ready:  # grows during the loop
        for pipe in job.outputs:
            destination = network.consumer(pipe.id)
            if not pipe.ASYNC and destination is not None and network.producer(pipe.id) is job:
                missing[destination._fission_id] -= 1
                if not missing[destination._fission_id]:
                    ready.append(destination)
    return ready


def _number(ratio: Fraction) -> str:
    return str(ratio.numerator) if ratio.denominator == 1 else f"{float(ratio):.3g}"
