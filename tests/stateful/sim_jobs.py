"""Random networks for the simulated cluster, and the expected content of their sinks.

The expectation is computed from the jobs alone, without any protocol.
"""

from __future__ import annotations

import os
import pickle
import random
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from fission.core.base import reset
from fission.core.jobs import FileSinkJob, LocalJob, PythonJob
from fission.core.network import Network
from fission.core.pipes import OptionalPicklePipe, PicklePipe
from fission.core.registry import current
from fission.core.sink_journal import JOURNAL, RECORD_BYTES, read_journal

#: Name of the file of every `FileSink`, in its folder.
SINK_PATH = "rows"


def mix(*parts: Any) -> int:
    """Return a number that depends on each of the parts."""
    return zlib.crc32(repr(parts).encode())


def spread(value: int, count: int) -> Any:
    """Return a job's results: a different value for every output."""
    return value if count == 1 else tuple(mix(value, index) for index in range(count))


class DummyPipe(PicklePipe):
    """A pipe whose lost blocks are visible: dummies are numbers that no job sends."""

    def get_dummy(self) -> bytes:
        return pickle.dumps(-1)


class SimJob(PythonJob):
    """Base of all jobs here; lets the simulation interrupt `run`."""

    _fission_sim_process: Any = None

    @property
    def refills(self) -> bool:
        """Whether all results are the same list, filled again: a block must be sent as it was when it was returned."""
        return self.id % 3 == 0 and len(self.outputs) == 1 and not self.outputs[0].ASYNC

    def give(self, result: Any) -> Any:
        """Return what `run` returns for a result."""
        if not self.refills:
            return result
        kept: list[Any] = self.__dict__.setdefault("_kept", [])
        kept[:] = [result]
        return kept

    def show_async_values(self, values: Any) -> None:
        """Let the simulation check the values of the ASYNC inputs."""
        for value, pipe in zip(values, self.inputs, strict=True):
            if pipe.ASYNC:
                self._fission_sim_process.check_async_value(pipe, value)


class Source(SimJob):
    """Numbers from a counter.

    With CHECKPOINT a new incarnation continues the count, without it a new one starts over.
    """

    def __init__(self, blocks: int, checkpoint: int | None, outputs: list[Any]) -> None:
        super().__init__(outputs=outputs)
        self.CHECKPOINT = checkpoint  # type: ignore[misc]
        self.blocks = blocks
        self.count = 0

    def run(self) -> Any:
        self._fission_sim_process.interrupt()
        self.count += 1
        if self.count >= self.blocks:
            self.finish()
        value = source_value(self.id, self.count, 0 if self.CHECKPOINT else self._fission_sim_process.incarnation)
        return self.give(spread(value, len(self.outputs)))


class Gauge(SimJob):
    """A source without a visible state: a generator."""

    def __init__(self, blocks: int, outputs: list[Any]) -> None:
        super().__init__(outputs=outputs)
        self.blocks = blocks

    def run(self) -> Iterator[Any]:
        for count in range(1, self.blocks + 1):
            self._fission_sim_process.interrupt()
            yield self.give(spread(source_value(self.id, count, self._fission_sim_process.incarnation), len(self.outputs)))


class Connector(SimJob):
    """Mixes its inputs; with ``stateful`` also all earlier ones.

    Finishes after ``limit`` blocks unless the limit is 0.
    """

    def __init__(self, inputs: list[Any], outputs: list[Any], checkpoint: int | None, stateful: bool, limit: int) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.CHECKPOINT = checkpoint  # type: ignore[misc]
        self.stateful, self.limit = stateful, limit
        self.state = self.count = 0

    def run(self, *values: Any) -> Any:
        self._fission_sim_process.interrupt()
        self.show_async_values(values)
        needed = [value for value, pipe in zip(values, self.inputs, strict=True) if not pipe.ASYNC]
        self.count += 1
        self.state = mix(self.state, needed) if self.stateful else 0
        if self.limit and self.count >= self.limit:
            self.finish()
        return self.give(spread(mix(self.id, needed, self.state), len(self.outputs)))


class FileSink(FileSinkJob, SimJob):
    """Writes a row for each compute block into a file that survives its incarnations."""

    SYNC = False  # there is no device; `lose_power` stands in for it

    def __init__(self, inputs: list[Any], heads: bool, max_queue: int) -> None:
        super().__init__(SINK_PATH, inputs=inputs)
        self.HEAD = heads  # type: ignore[misc]
        self.MAX_QUEUE = max_queue  # type: ignore[misc]

    def run(self, *values: Any) -> None:
        process = self._fission_sim_process
        self.show_async_values(values)
        needed = [value for value, pipe in zip(values, self.inputs, strict=True) if not pipe.ASYNC]
        flags = 0
        if self.HEAD:
            for entry in self.in_heads:
                for head in entry if isinstance(entry, list) else [entry]:
                    flags |= int(head or 0)
        if self.BLOCK_TIME:
            process.cluster.times.wrote(process, self)
        row = pickle.dumps((self.generation, self.block_number, flags, needed))
        for part in (row[:7], row[7:]):
            process.interrupt()
            self.append(part)
        process.interrupt()


def rows_in(folder: Path) -> list[Any]:
    """Return the rows of the file of a `FileSink` in its folder."""
    rows = []
    try:
        with open(folder / SINK_PATH, "rb") as file:
            while file.peek(1):
                rows.append(pickle.load(file))
    except FileNotFoundError:
        pass
    return rows


def lose_power(folder: Path, rng: random.Random) -> None:
    """Keep what was synced to the device of a `FileSink`, and by chance some of the rest."""
    journal = folder / JOURNAL
    try:
        content = journal.read_bytes()
        synced = content.rfind(b"SYN1") // RECORD_BYTES
        entry = read_journal(journal).entries[synced]
    except (FileNotFoundError, IndexError):
        return
    os.truncate(journal, rng.randint((synced + 1) * RECORD_BYTES, len(content)))
    size = (folder / SINK_PATH).stat().st_size
    os.truncate(folder / SINK_PATH, rng.randint(min(entry.position.end, size), size))


class Watcher(LocalJob, SimJob):
    """Observes through ASYNC pipes."""

    def run(self, *values: Any) -> None:
        self.show_async_values(values)
        self._fission_sim_process.interrupt()


def source_value(job: int, count: int, incarnation: int) -> int:
    """Return a value of a source."""
    return mix("source", job, count, incarnation)


class Scenario:
    """A random network and its random parameters.

    Attributes:
        exact: whether all sources resume, so that a sink's file must equal the file of a run
            without faults.
    """

    def __init__(self, rng: random.Random) -> None:
        reset()
        self._rng = rng
        self._pipe = 100
        self.exact = rng.random() < 0.65
        self.window = rng.choice([2, 4, 8, 8, 16, 64])
        shape: list[tuple[str, list[tuple[int, int]], int]] = []  # kind, inputs (job index, block count), rate
        units = rng.choice([3, 6, 10])
        for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
            shape.append(("source", [], rng.choice([12, 12, 6, 4])))
        for _ in range(rng.randint(1, 5)):
            chosen = rng.sample(range(len(shape)), min(len(shape), rng.choice([1, 1, 2, 2, 3])))
            fitting = self._rate([shape[index][2] for index in chosen])
            while not fitting:
                chosen.pop()
                fitting = self._rate([shape[index][2] for index in chosen])
            rate = rng.choice(fitting[:2])
            shape.append(("connector", [(index, shape[index][2] // rate) for index in chosen], rate))
        used = {index for _, inputs, _ in shape for index, _ in inputs}
        for index in range(len(shape)):
            if index not in used or rng.random() < 0.15:
                rate = rng.choice(self._rate([shape[index][2]])[:2])
                others = [other for other, one in enumerate(shape) if one[0] != "sink" and other != index and rate in self._rate([one[2]])]
                inputs = [index] + (rng.sample(others, 1) if others and rng.random() < 0.2 else [])
                shape.append(("sink", [(one, shape[one][2] // rate) for one in inputs], rate))
        self._build(shape, units)
        self.network = Network("simulated", current().jobs)
        faults = self.network.check()
        assert not faults, [str(fault) for fault in faults]
        self.producers = {pipe: job for job in self.network.jobs.values() for pipe in job.outputs}

    @staticmethod
    def _rate(rates: list[int]) -> list[int]:
        """Return the rates that fit all of these with BLOCK_COUNT 1 to 4; the highest first."""
        return [rate for rate in range(max(rates), 0, -1) if all(one % rate == 0 and one // rate <= 4 for one in rates)]

    def _build(self, shape: list[tuple[str, list[tuple[int, int]], int]], units: int) -> None:
        rng = self._rng
        ins: list[list[Any]] = [[] for _ in shape]
        outs: list[list[Any]] = [[] for _ in shape]
        for index, (_, inputs, _) in enumerate(shape):
            for producer, count in inputs:
                pipe = rng.choice([PicklePipe, DummyPipe])(self._next())
                pipe.BLOCK_COUNT = count  # type: ignore[misc]
                ins[index].append(pipe)
                outs[producer].append(pipe)
        watched: list[Any] = []
        while rng.random() < 0.25:
            # from any job to any job, circles included
            producer = rng.randrange(len(shape))
            takers = [index for index, (kind, _, _) in enumerate(shape) if kind != "source" and index != producer]
            if shape[producer][0] == "sink":
                continue
            pipe = OptionalPicklePipe(self._next())
            pipe.OPTIONAL_BUFFER_SIZE = rng.choice([0, 0, 3])  # type: ignore[misc]
            pipe.OPTIONAL_DELETE_MODE = rng.choice(["oldest", "newest"])  # type: ignore[misc]
            pipe.OPTIONAL_STORE = rng.random() < 0.8  # type: ignore[misc]
            pipe.BLOCK_COUNT = rng.choice([1, 1, 2, 3])  # type: ignore[misc]
            outs[producer].append(pipe)
            if rng.random() < 0.3:
                watched.append(pipe)
            else:
                taker = rng.choice(takers)
                ins[taker].insert(rng.randint(0, len(ins[taker])), pipe)
        rare = None
        if rng.random() < 0.3:
            # a source that ends early: its last value must remain available
            rare = OptionalPicklePipe(self._next())
            ins[rng.choice([index for index, (kind, _, _) in enumerate(shape) if kind != "source"])].append(rare)
        unlucky = rng.random() < 0.1  # sources of different lengths: joins end with the shortest
        loose = set() if self.exact else {rng.choice([index for index, one in enumerate(shape) if one[0] == "source"])}
        for index, (kind, _, rate) in enumerate(shape):
            if kind == "source":
                blocks = rate * units - (rng.randint(0, 8) if unlucky else 0)
                resumable = self.exact or (index not in loose and rng.random() < 0.4)
                if not resumable and rng.random() < 0.6:
                    Gauge(blocks, outs[index])
                else:
                    Source(blocks, rng.choice([1, 5, 20]) if resumable else None, outs[index])
            elif kind == "connector":
                checkpoint = rng.choice([None, None, 1, 3, 7])
                limit = rng.randint(1, rate * units) if checkpoint and self.exact and rng.random() < 0.1 else 0
                Connector(ins[index], outs[index], checkpoint, checkpoint is not None and self.exact, limit)
            else:
                # with MAX_QUEUE it loses blocks, and compute blocks without dummies are left out
                loses = self.exact and rng.random() < 0.2
                FileSink(ins[index], not self.exact or rng.random() < 0.2, rng.choice([1, 1, 2, 5]) if loses else 0)
        if watched:
            Watcher(inputs=watched)
        if rare is not None:
            Source(rng.choice([1, 1, 2, 3]), 1, [rare])

    def _next(self) -> int:
        self._pipe += 1
        return self._pipe

    def sinks(self) -> list[FileSink]:
        """Return the sinks that write files."""
        return [job for job in self.network.jobs.values() if isinstance(job, FileSink)]

    def __str__(self) -> str:
        lines = []
        for job in self.network.jobs.values():
            ins = ", ".join(f"{pipe.id}{'?' if pipe.ASYNC else ''}x{pipe.BLOCK_COUNT}" for pipe in job.inputs)
            outs = ", ".join(f"{pipe.id}{'?' if pipe.ASYNC else ''}" for pipe in job.outputs)
            more = f" CHECKPOINT={job.CHECKPOINT}" if job.CHECKPOINT else ""
            more += f" blocks={job.blocks}" if hasattr(job, "blocks") else ""
            more += f" limit={job.limit}" if getattr(job, "limit", 0) else ""
            more += f" MAX_QUEUE={job.MAX_QUEUE}" if job.MAX_QUEUE else ""
            lines.append(f"  {job.name}: {ins or '-'} -> {outs or '-'}{more}")
        return "\n".join(lines)


class Reference:
    """The expected content of the sinks: the jobs' arithmetic on the values of the sources.

    ``sent`` has the values of the sources, by pipe, then by number.
    """

    def __init__(self, scenario: Scenario, sent: dict[int, dict[int, Any]]) -> None:
        self._scenario, self._sent = scenario, sent
        self._columns = lru_cache(maxsize=None)(self._make)

    def column(self, pipe: Any) -> dict[int, Any]:
        """Return the pipe's blocks by number, as far as they follow from the values sent."""
        return self._columns(pipe)

    def rows(self, job: Any) -> dict[int, list[Any]]:
        """Return the non-ASYNC inputs of a job by compute block."""
        needed = [(self.column(pipe), pipe.BLOCK_COUNT) for pipe in job.inputs if not pipe.ASYNC]
        last = min((max(column, default=0) // count for column, count in needed), default=0)
        found: dict[int, list[Any]] = {}
        for number in range(1, last + 1):
            row = []
            for column, count in needed:
                blocks = [column.get(block) for block in range((number - 1) * count + 1, number * count + 1)]
                if None in blocks:
                    break
                row.append(blocks[0] if count == 1 else blocks)
            else:
                found[number] = row
        return found

    def _make(self, pipe: Any) -> dict[int, Any]:
        job = self._scenario.producers[pipe]
        if not isinstance(job, Connector):
            return self._sent.get(pipe.id, {})
        column: dict[int, Any] = {}
        state, index = 0, job.outputs.index(pipe)
        for number, row in self.rows(job).items():
            if job.limit and number > job.limit:
                break
            state = mix(state, row) if job.stateful else 0
            value = spread(mix(job.id, row, state), len(job.outputs))
            value = value[index] if isinstance(value, tuple) else value
            column[number] = [value] if job.refills else value
        return column


def faultless(scenario: Scenario) -> dict[int, dict[int, Any]]:
    """Return the values that resumable sources send, by pipe."""
    sent: dict[int, dict[int, Any]] = {}
    for job in scenario.network.jobs.values():
        if isinstance(job, Source):
            for index, pipe in enumerate(job.outputs):
                values = [spread(source_value(job.id, count, 0), len(job.outputs)) for count in range(1, job.blocks + 1)]
                own = [one[index] if isinstance(one, tuple) else one for one in values]
                sent[pipe.id] = {count: [one] if job.refills else one for count, one in enumerate(own, 1)}
    return sent
