"""Simple models to compare the protocol with: block by block, with sets and dicts, regardless of speed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fission.protocol.inputs import InputCounts, InputSpec
from fission.protocol.link_messages import CLOSED, Data, End, Open
from fission.protocol.window import Arrival

CORRUPTED = 0x80  # the first bit of a head of one byte
ComputeBlock = tuple[int, list[Any], list[Any]]  # number, per input its payload(s), per input its head(s)


class ReceiverModel:
    """A set of the numbers that have been received; a link's incarnation and generation must match."""

    def __init__(self) -> None:
        self.opened: tuple[int, int] | None = None  # (incarnation, generation), once a link was opened
        self.marks: list[int] = []  # of this generation
        self.had: set[int] = {0}
        self.last: int | None = None
        self.final = self.more = False
        self.refused = 0

    def open(self, incarnation: int, generation: int, mark: int) -> Arrival:
        before = self.opened or (0, 0)
        if incarnation < before[0] or generation < before[1]:
            return Arrival.STALE
        if self.opened == (incarnation, generation) and mark <= max(self.marks):
            return Arrival.KNOWN
        first_time = self.opened is None
        self.opened = (incarnation, generation)
        if generation > before[1]:
            self.marks, self.had, self.last, self.more = [], {0}, None, False
        self.marks.append(mark)
        self.have(mark)
        return Arrival.NEW_GENERATION if generation > before[1] and not first_time else Arrival.NEW_INCARNATION

    def have(self, upto: int) -> None:
        """Mark all numbers up to ``upto``: on an ordered link, a missing earlier block never arrives."""
        self.had |= set(range(upto + 1))

    def accept(self, incarnation: int, generation: int, first: int, count: int) -> list[int]:
        """Return the numbers that are new."""
        new = [number for number in range(first, first + count) if number not in self.had]
        if self.opened != (incarnation, generation):
            new = []
        self.refused += count - len(new)
        if new:
            self.have(new[-1])
        return new

    def end(self, incarnation: int, generation: int, last: int, *, final: bool = False, more: bool = False) -> bool:
        if self.opened != (incarnation, generation):
            return False
        self.last, self.final, self.more = last, self.final or final, more
        self.have(last)
        return True


@dataclass
class ModelStage:
    """The state of one input in one generation."""

    waiting: dict[int, tuple[str, int]] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)
    high: int = 0
    marks: set[int] = field(default_factory=lambda: {0})
    last: int | None = None


class ModelInput:
    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        self.receiver = ReceiverModel()
        self.stages: dict[int, ModelStage] = {0: ModelStage()}
        self.previous: str | None = None
        self.counts = InputCounts()

    @property
    def generation(self) -> int:
        return self.receiver.opened[1] if self.receiver.opened else 0

    def first(self, generation: int) -> int:
        """Return the first compute block of a generation that this input allows."""
        mark = max(self.stages[generation].marks) if generation in self.stages else 0
        return (mark + self.spec.block_count - 1) // self.spec.block_count + 1


class AlignModel:
    """The rules in the head of align.py, block by block."""

    def __init__(self, specs: list[InputSpec]) -> None:
        self.inputs = {spec.pipe: ModelInput(spec) for spec in specs}
        self.generation = 0
        self.next = 0

    def stage(self, one: ModelInput) -> ModelStage:
        return one.stages.setdefault(self.generation, ModelStage())

    def newest(self, one: ModelInput) -> ModelStage:
        return one.stages.setdefault(one.generation, ModelStage())

    def open(self, message: Open) -> Arrival:
        one = self.inputs[message.pipe]
        before = one.generation
        arrival = one.receiver.open(message.incarnation, message.generation, message.mark)
        if arrival in (Arrival.STALE, Arrival.KNOWN) or one.generation < self.generation:
            return arrival
        if one.generation > before:
            if before > self.generation:
                self.give_up(one, before)
            else:
                self.stage(one).last = self.stage(one).last if self.stage(one).last is not None else self.stage(one).high
        self.newest(one).high = max(one.receiver.had)
        self.newest(one).marks.add(message.mark)
        if self.next and one.generation == self.generation and one.first(self.generation) > self.next:
            self.next = 0
        if not self.next:
            self.switch()
        return arrival

    def data(self, message: Data) -> int:
        one = self.inputs[message.pipe]
        count = len(message.payloads)
        new = one.receiver.accept(message.incarnation, message.generation, message.sqn, count)
        one.counts.duplicates += count - len(new)
        one.counts.received += len(new)
        if not new:
            return 0
        if one.generation < self.generation:
            one.counts.unmatched += len(new)
            return len(new)
        stage = self.newest(one)
        stage.high = new[-1]
        if one.generation == self.generation and self.worked_off():
            one.counts.unmatched += len(new)
            return len(new)
        for number in new:
            index = number - message.sqn
            stage.waiting[number] = (message.payloads[index], message.heads[index] if message.heads else 0)
        while one.spec.max_queue and len(stage.waiting) > max(one.spec.max_queue, one.spec.block_count):
            oldest = min(stage.waiting)
            del stage.waiting[oldest]
            stage.dropped.add(oldest)
            one.counts.dropped += 1
        return len(new)

    def end(self, message: End) -> bool:
        one = self.inputs[message.pipe]
        if not one.receiver.end(message.incarnation, message.generation, message.last, final=message.final, more=message.more):
            return False
        if one.generation < self.generation:
            return True
        self.newest(one).last = message.last
        self.newest(one).high = max(one.receiver.had)
        if not self.next:
            self.switch()
        return True

    @property
    def beginning(self) -> int | None:
        if self.next or not all(one.receiver.opened for one in self.inputs.values()):
            return None
        return max(one.first(self.generation) for one in self.inputs.values())

    def begin(self, first: int) -> None:
        self.next = first
        for one in self.inputs.values():
            position = self.position(one)
            before = [number for number in self.stage(one).waiting if number < position]
            for number in before:
                del self.stage(one).waiting[number]
            one.counts.received -= len(before)
            one.counts.duplicates += len(before)
            if one.generation == self.generation:
                one.receiver.have(position - 1)
                self.stage(one).high = max(one.receiver.had)
            else:
                self.stage(one).high = max(self.stage(one).high, position - 1)

    def position(self, one: ModelInput) -> int:
        return (self.next - 1) * one.spec.block_count + 1

    def final(self) -> int:
        return min(
            (stage.last // one.spec.block_count for one in self.inputs.values() if (stage := self.stage(one)).last is not None),
            default=CLOSED,
        )

    def worked_off(self) -> bool:
        return bool(self.next) and self.next > self.final()

    def complete(self) -> bool:
        """Return whether the next compute block is complete."""
        return self.next <= self.final() and all(
            self.stage(one).high >= self.position(one) + one.spec.block_count - 1 for one in self.inputs.values()
        )

    def take(self, limit: int) -> list[ComputeBlock]:
        found: list[ComputeBlock] = []
        tried = 0
        while self.next and self.complete() and not (tried and tried % limit == 0 and found):
            block = self.one_block()
            tried += 1
            if block is not None:
                found.append(block)
        if self.next and not found:
            self.nothing_to_take()
        return found

    def one_block(self) -> ComputeBlock | None:
        number, payloads, heads = self.next, [], []
        real: dict[int, int] = {}
        left_out = False
        for one in self.inputs.values():
            parts: list[Any] = []
            part_heads: list[int] = []
            real[one.spec.pipe] = 0
            for at in range(self.position(one), self.position(one) + one.spec.block_count):
                there = self.stage(one).waiting.pop(at, None)
                if there is not None:
                    real[one.spec.pipe] += 1
                    parts.append(there[0])
                    part_heads.append(there[1])
                else:
                    one.counts.lost += at not in self.stage(one).dropped
                    parts.append(one.spec.dummy() if one.spec.dummy else one.previous)
                    part_heads.append(CORRUPTED)
                one.previous = parts[-1]
            left_out = left_out or None in parts
            payloads.append(parts if one.spec.block_count > 1 else parts[0])
            heads.append(part_heads if one.spec.block_count > 1 else part_heads[0])
        for one in self.inputs.values():
            if left_out:
                one.counts.unmatched += real[one.spec.pipe]
            else:
                one.counts.dummies += one.spec.block_count - real[one.spec.pipe]
        self.next += 1
        return None if left_out else (number, payloads, heads)

    def nothing_to_take(self) -> None:
        if self.worked_off():
            for one in self.inputs.values():
                self.give_up(one, self.generation)
        self.switch()

    def give_up(self, one: ModelInput, generation: int) -> None:
        stage = one.stages.setdefault(generation, ModelStage())
        one.counts.unmatched += len(stage.waiting)
        stage.waiting.clear()

    def switch(self) -> None:
        inputs = self.inputs.values()
        if not all(one.receiver.opened for one in inputs):
            return
        newest = min((one.generation for one in inputs if not one.receiver.final), default=max(one.generation for one in inputs))
        if newest <= self.generation:
            return
        for one in inputs:
            self.give_up(one, self.generation)
            if one.generation != newest:  # it has ended for good, or has nothing of this one
                if one.generation < newest:
                    self.give_up(one, one.generation)
                one.stages[newest] = ModelStage(last=0)
        self.generation = newest
        self.next = 0

    @property
    def finished(self) -> bool:
        inputs = self.inputs.values()
        ended = all(one.generation <= self.generation and self.stage(one).last is not None and not one.receiver.more for one in inputs)
        return self.worked_off() and ended

    def releasable(self, done: int, generation: int) -> list[tuple[int, int]]:
        if generation != self.generation:
            return []
        inputs = self.inputs.values()
        if self.next and done >= self.final():
            return [(one.spec.pipe, self.stage(one).high) for one in inputs]
        return [(one.spec.pipe, done * one.spec.block_count) for one in inputs]
