"""The times of blocks (`self.block_time`) in the simulated cluster, with `--times`.

Every sink asks for them. The invariants, besides those of `sim_cluster`:

- A source's block has the same time on all outputs.
- A source that makes a block again gives it the time that any running consumer has had. A consumer that
  has ended is not asked.
- As long as no source has been started again, a compute block has one time at a sink, however often it
  arrives, and that is the earliest and latest of all source blocks that it comes from.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fission.protocol import frames
from fission.protocol.block_times import BYTES, UNKNOWN, join, pack
from fission.protocol.link_messages import Data


class SimTimes:
    """Records the times of one run, and checks them."""

    def __init__(self, scenario: Any) -> None:
        """Have all sinks of a scenario ask for times."""
        self._scenario = scenario
        self._wrong: list[str] = []
        for sink in scenario.sinks():
            sink.BLOCK_TIME = True
        self._made: dict[tuple[int, int, int, int], bytes] = {}  # by source, incarnation, generation and number
        self._had: dict[tuple[int, int], dict[tuple[int, int, int], bytes]] = {}  # by job and incarnation; then pipe, generation, number
        self._written: dict[tuple[int, int, int], bytes] = {}  # by sink, generation and number

    def watch(self, process: Any) -> None:
        """Record what arrives at a process."""
        times, had = process.endpoint.times, self._had.setdefault((process.job, process.incarnation), {})
        arrived = times.arrived

        def recorded(message: Data, new: int) -> None:
            for index in range(len(message.payloads) - new, len(message.payloads)):
                time = (message.times or b"")[index * BYTES : (index + 1) * BYTES]
                had[message.pipe, message.generation, message.sqn + index] = time
            arrived(message, new)

        times.arrived = recorded

    def sent(self, process: Any, pipe: int, message: list[Any]) -> None:
        """Check what a process sends on a pipe."""
        job = self._scenario.network.jobs[process.job]
        current = process.cluster.client.incarnation(process.job) == process.incarnation  # no job listens to an older one
        data = frames.decode(message) if job.is_source and current else None
        if not isinstance(data, Data) or data.times is None:
            return
        consumer = self._scenario.network.consumer(pipe).id
        running = self._had.get((consumer, process.cluster.client.incarnation(consumer)), {})
        for index in range(len(data.payloads)):
            number, time = data.sqn + index, data.times[index * BYTES : (index + 1) * BYTES]
            where = f"{process} sent block {number} of generation {data.generation} on pipe {pipe}"
            self._claim(time != UNKNOWN, f"{where} without a time")
            made = self._made.setdefault((process.job, process.incarnation, data.generation, number), time)
            self._claim(made == time, f"{where} with another time than on another output")
            self._claim(running.get((pipe, data.generation, number), time) == time, f"{where} with another time than its consumer has")
        for output in job.outputs:
            if process.endpoint.by_pipe[output.id].closed:
                continue
            other = self._scenario.network.consumer(output.id).id
            known = self._had.get((other, process.cluster.client.incarnation(other)), {})
            for number in range(data.sqn, data.sqn + len(data.payloads)):
                time = self._made[process.job, process.incarnation, data.generation, number]
                place = output.id, data.generation, number
                self._claim(known.get(place, time) == time, f"{process} sent block {number} with another time than pipe {output.id} had")

    def wrote(self, process: Any, sink: Any) -> None:
        """Check the time of the compute block that a sink writes."""
        time = pack(sink.block_time)
        before = self._written.setdefault((sink.id, sink.generation, sink.block_number), time)
        if self._begun_once(process.cluster):
            self._claim(before == time, f"{process} has compute block {sink.block_number} again with another time")

    def _begun_once(self, cluster: Any) -> bool:
        return all(cluster.client.incarnation(number) <= 1 for number, job in self._scenario.network.jobs.items() if job.is_source)

    def check(self, cluster: Any) -> int:
        """Check the times at the sinks, after the end; return how many were compared.

        Raises:
            AssertionError: an invariant was violated.
        """
        if not self._scenario.exact or not self._begun_once(cluster):
            return self._compared(0)

        @cache
        def time_of(job: int, number: int) -> bytes:
            one = self._scenario.network.jobs[job]
            if one.is_source:
                return self._made[job, 1, 0, number]
            found = UNKNOWN
            for pipe in one.inputs:
                if not pipe.ASYNC:
                    producer, count = self._scenario.network.producer(pipe.id).id, pipe.BLOCK_COUNT
                    for block in range((number - 1) * count + 1, number * count + 1):
                        found = join(found, time_of(producer, block))
            return found

        compared = 0
        for (sink, generation, number), time in self._written.items():
            if not self._scenario.network.jobs[sink].MAX_QUEUE:
                compared += 1
                same = not generation and time == time_of(sink, number)
                self._claim(same, f"sink {sink} has another time at compute block {number} than its sources")
        return self._compared(compared)

    def _compared(self, count: int) -> int:
        if self._wrong:
            raise AssertionError(self._wrong[0])
        return count

    def _claim(self, holds: bool, text: str) -> None:
        if not holds:  # raised at the end: here it would be an error of the job
            self._wrong.append(text)
