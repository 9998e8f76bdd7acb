"""Which rates the BLOCK_COUNTs of a network imply, and where they contradict each other.

A job takes BLOCK_COUNT blocks from every non-ASYNC input for each compute block and gives one block to every output (an
executable: as many as its RATIO says, r), so ``rate(destination) * BLOCK_COUNT = rate(source) * r`` on each such pipe; where r
is unknown, nothing. Sources have no rate of their own: what waits for them slows them down. Jobs joined so far are kept as a
tree of ratios (a union-find with weights); an equation between two jobs of one tree is either fulfilled or a contradiction. Jobs
are taken in the order of the stream, so it shows at the job where the ways meet.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm
from typing import TYPE_CHECKING

from fission.core.executable_job import output_ratio

if TYPE_CHECKING:
    from fission.core.base_job import BaseJob
    from fission.core.network import Network


def rate_warnings(network: Network) -> list[str]:
    """One text for each job that takes two pipes whose rates do not fit; empty while the network's classes have faults."""
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
                    f"until its queue is full, and stops the job before it; choose the BLOCK_COUNT of both so that they fit "
                    f"(now {fast.BLOCK_COUNT} and {slow.BLOCK_COUNT}), or take them in two jobs"
                )
            first = first or pipe
    return warnings


def needed_blocks(network: Network) -> dict[int, int]:
    """How many blocks of each pipe its consumer may have to hold before it can release any.

    It takes BLOCK_COUNT at once, and holds on to the inputs of a compute block until its outputs are released, which is when the
    next job has taken a whole compute block of its own, and so on. Where ways part and meet again, a join also holds the blocks of one
    way until the other has gathered its groups: so a *period* of each, after which all groups on these ways are whole, must fit.
    A smaller window would stop the network for ever.
    """
    periods = _periods(network)
    needed: dict[int, int] = {}
    for job in reversed(_in_stream_order(network)):
        # an ASYNC pipe that stores keeps a group until it has the next one, and nothing behind its consumer matters
        held = max((pipe.BLOCK_COUNT if pipe.ASYNC else needed[pipe.id] for pipe in job.outputs), default=1)
        ratio = _ratio(job)
        # without a RATIO inputs are released as they are read; with one, when whole groups of outputs are
        held = 1 if ratio is None else -(-held // ratio.numerator) * ratio.denominator
        for pipe in job.inputs:
            needed[pipe.id] = max(periods.get(pipe.id, 1), pipe.BLOCK_COUNT * (1 if pipe.ASYNC else held))
    return needed


def _periods(network: Network) -> dict[int, int]:
    """Blocks of each pipe in one period of the ways that it shares both ends with; pipes on no such ways are left out."""
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
                )  # rate of the consumer for that of the producer
                other, rate = (target, rates[number] * step) if number == source else (source, rates[number] / step)
                if other not in rates:
                    rates[other] = rate
                    waiting.append(other)
                fits = fits and rates[other] == rate
        if not fits:
            continue  # rates that contradict each other, of which `check` warns
        # the shortest time in which every job has whole compute blocks and every executable whole groups
        whole = [rates[job] / _likely_ratio(network.jobs[job]).denominator for job in rates]
        period = Fraction(lcm(*(one.denominator for one in whole)), gcd(*(one.numerator for one in whole)))
        for pipe_id in pipes:
            periods[pipe_id] = int(period * rates[ends[pipe_id][1]] * network.pipes[pipe_id].BLOCK_COUNT)
    return periods


def _likely_ratio(job: BaseJob) -> Fraction:
    """As `_ratio`; where that is unknown, one block out for one in."""
    count = next((pipe.BLOCK_COUNT for pipe in job.inputs if not pipe.ASYNC), 1)
    return _ratio(job) or Fraction(count if type(count) is int and count > 0 else 1)


def _meshes(ends: dict[int, tuple[int, int]]) -> list[list[int]]:
    """The pipes of each set of ways that part and meet again: of the biconnected components with more than one pipe.

    By Tarjan's search for them, without recursion: jobs are numbered as they are met, and an edge back says how far up a way leads.
    """
    at: dict[int, list[tuple[int, int]]] = {}
    for pipe, (one, other) in ends.items():
        at.setdefault(one, []).append((pipe, other))
        at.setdefault(other, []).append((pipe, one))
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
    except (TypeError, ValueError):  # a wrong RATIO or BLOCK_COUNT, which is a fault of its own
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
        """Notes that the rate of `job` is `share` of that of `source`; gives how many times what is known already that would be."""
        own, own_ratio = self._root(job)
        other, other_ratio = self._root(source)
        wanted = share * other_ratio
        if own == other:
            return wanted / own_ratio
        self._parents[own] = (other, wanted / own_ratio)
        return Fraction(1)


def _in_stream_order(network: Network) -> list[BaseJob]:
    """Every job behind all jobs that feed it through non-ASYNC pipes; jobs on a circle (a fault) are left out."""
    missing = {}
    for number, job in network.jobs.items():
        feeding = [network.producer(pipe.id) for pipe in job.inputs if not pipe.ASYNC]
        missing[number] = sum(source is not None for source in feeding)
    ready = [job for number, job in network.jobs.items() if not missing[number]]
    for job in ready:  # grows while it is gone through
        for pipe in job.outputs:
            destination = network.consumer(pipe.id)
            if not pipe.ASYNC and destination is not None and network.producer(pipe.id) is job:
                missing[destination._fission_id] -= 1
                if not missing[destination._fission_id]:
                    ready.append(destination)
    return ready


def _number(ratio: Fraction) -> str:
    return str(ratio.numerator) if ratio.denominator == 1 else f"{float(ratio):.3g}"
