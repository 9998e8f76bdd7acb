"""The aligner: in whatever order the messages of its inputs arrive, the compute blocks are those of a plain calculation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol.align import MAX_BATCH, Aligner
from fission.protocol.batches import Batch
from fission.protocol.inputs import LOST, Input, InputCounts, InputSpec
from fission.protocol.link_messages import Data, End, Message, Open
from fission.protocol.window import Arrival, Receiver
from tests.protocol.caught import assert_caught, assert_machine_catches
from tests.protocol.models import CORRUPTED, AlignModel, ComputeBlock


def payload(pipe: int, number: int, generation: int = 0) -> str:
    return f"{pipe}:{number}" if not generation else f"{pipe}:{number} of generation {generation}"


def head(number: int) -> int:
    """Every fifth block has one."""
    return 0 if number % 5 else 1 + number % 7


def data(pipe: int, numbers: list[int], incarnation: int = 1, generation: int = 0) -> Data:
    heads = [head(number) for number in numbers]
    payloads = [payload(pipe, number, generation) for number in numbers]
    return Data(pipe, incarnation, generation, numbers[0], payloads, heads if any(heads) else None)


def blocks_of(batch: Batch) -> list[ComputeBlock]:
    heads = batch.heads or [[0 if type(entry) is not list else [0] * len(entry) for entry in column] for column in batch.columns]
    return [
        (number, [column[index] for column in batch.columns], [column[index] for column in heads])
        for index, number in enumerate(batch.numbers)
    ]


def feed(aligner: Aligner, message: Message) -> object:
    if isinstance(message, Open):
        return aligner.open(message)
    if isinstance(message, Data):
        return aligner.data(message)
    assert isinstance(message, End)
    return aligner.end(message)


# -- one generation, from the opening to the end ----------------------------------------------------------------------


@dataclass(frozen=True)
class Trace:
    """What the producers of one input do: blocks 1 to ``length`` but for the lost ones; those up to ``mark`` are released."""

    pipe: int
    count: int
    length: int
    mark: int
    start: int  # the first block that is sent, up to mark + 1
    lost: frozenset[int]
    dummy: bool
    messages: list[Message]

    def spec(self) -> InputSpec:
        return InputSpec(self.pipe, self.count, 0, (lambda: f"dummy of {self.pipe}") if self.dummy else None)

    def comes(self, number: int) -> bool:
        return self.mark < number <= self.length and number not in self.lost


@st.composite
def traces(draw: st.DrawFn, pipe: int) -> Trace:
    length = draw(st.integers(0, 16))
    mark = draw(st.just(0) | st.integers(0, length))
    start = draw(st.integers(1, mark + 1))
    lost = draw(st.frozensets(st.integers(start, length), max_size=5)) if start <= length else frozenset()
    sent = [number for number in range(start, length + 1) if number not in lost]
    cuts = draw(st.frozensets(st.integers(1, 17), max_size=6))
    # a message has consecutive blocks: it ends at a gap, and anywhere else
    runs = groupby(sent, lambda number: (sum(cut <= number for cut in cuts), sum(gone < number for gone in lost)))
    messages: list[Message] = [Open(pipe, 1, 0, mark), *(data(pipe, list(run)) for _, run in runs), End(pipe, 1, 0, length)]
    return Trace(pipe, draw(st.integers(1, 3)), length, mark, start, lost, draw(st.booleans()), messages)


@dataclass(frozen=True)
class Play:
    """Traces, the order in which their messages interleave, and when the job looks."""

    traces: list[Trace]
    order: list[Message]
    takes: list[int]  # after each message: the limit with which the job takes, 0 = it does not look
    behind: int  # number of compute blocks after the beginning at which the job begins


@st.composite
def plays(draw: st.DrawFn) -> Play:
    drawn = [draw(traces(pipe)) for pipe in range(1, 1 + draw(st.integers(1, 3)))]
    turns = draw(st.permutations([trace.pipe for trace in drawn for _ in trace.messages]))
    left = {trace.pipe: iter(trace.messages) for trace in drawn}
    order = [next(left[pipe]) for pipe in turns]
    takes = draw(st.lists(st.integers(0, 4) | st.just(MAX_BATCH), min_size=len(order), max_size=len(order)))
    return Play(drawn, order, takes, draw(st.sampled_from([0, 0, 0, 1, 2])))


def expected(play: Play) -> tuple[list[ComputeBlock], dict[int, InputCounts]]:
    """Return the expected compute blocks and counts, derived from the traces alone."""
    first = max(-(-trace.mark // trace.count) + 1 for trace in play.traces) + play.behind
    final = min(trace.length // trace.count for trace in play.traces)
    counts = {trace.pipe: InputCounts() for trace in play.traces}
    found: list[ComputeBlock] = []
    previous: dict[int, str] = {}
    for k in range(first, final + 1):
        columns: list[list[str | None]] = []
        for trace in play.traces:
            column: list[str | None] = []
            for number in range((k - 1) * trace.count + 1, k * trace.count + 1):
                if trace.comes(number):
                    column.append(payload(trace.pipe, number))
                else:
                    counts[trace.pipe].lost += 1
                    column.append(f"dummy of {trace.pipe}" if trace.dummy else previous.get(trace.pipe))
                if column[-1] is not None:
                    previous[trace.pipe] = column[-1]
            columns.append(column)
        left_out = any(None in column for column in columns)
        payloads: list[Any] = []
        heads: list[Any] = []
        for trace, column in zip(play.traces, columns, strict=True):
            numbers = range((k - 1) * trace.count + 1, k * trace.count + 1)
            there = sum(map(trace.comes, numbers))
            if left_out:
                counts[trace.pipe].unmatched += there
                continue
            counts[trace.pipe].dummies += trace.count - there
            in_heads = [head(number) if trace.comes(number) else CORRUPTED for number in numbers]
            payloads.append(column if trace.count > 1 else column[0])
            heads.append(in_heads if trace.count > 1 else in_heads[0])
        if not left_out:
            found.append((k, payloads, heads))
    for trace in play.traces:
        sent = [number for number in range(trace.start, trace.length + 1) if number not in trace.lost]
        begins = max(trace.mark, (first - 1) * trace.count) + 1
        count = counts[trace.pipe]
        count.duplicates = sum(number < begins for number in sent)
        count.received = len(sent) - count.duplicates
        count.unmatched += sum(number >= begins and number > final * trace.count for number in sent)
    return found, counts


def check_play(play: Play, make: type[Aligner] = Aligner) -> None:
    aligner = make([trace.spec() for trace in play.traces])
    found: list[ComputeBlock] = []

    def look(limit: int) -> None:
        if aligner.beginning is not None:
            aligner.begin(aligner.beginning + play.behind)
        while (batch := aligner.take(limit)) is not None:
            assert 0 < len(batch.numbers) <= limit
            assert batch.generation == 0
            found.extend(blocks_of(batch))

    for message, limit in zip(play.order, play.takes, strict=True):
        assert not aligner.finished
        feed(aligner, message)
        if limit:
            look(limit)
    look(MAX_BATCH)
    blocks, counts = expected(play)
    assert found == blocks
    assert aligner.counts() == counts
    assert aligner.finished
    first = max(-(-trace.mark // trace.count) + 1 for trace in play.traces) + play.behind
    for trace in play.traces:
        one = counts[trace.pipe]
        assert aligner.waiting(trace.pipe) == 0
        assert one.received + one.dummies == len(blocks) * trace.count + one.unmatched
        # no block is needed any longer, not even those that had no partners
        last = max(trace.length, (first - 1) * trace.count)
        assert (trace.pipe, last) in aligner.releasable(max(aligner.next - 1, 0), 0)
    assert aligner.left_over() == {one.pipe: one.length % one.count for one in play.traces if one.length % one.count}


@settings(max_examples=500, deadline=None)
@given(plays())
def test_compute_blocks_follow_from_the_blocks(play: Play) -> None:
    check_play(play)


# -- incarnations, generations, late marks, MAX_QUEUE -----------------------------------------------------------------


@dataclass
class Producer:
    """The present incarnation of an input's producer. All incarnations of a generation send the same blocks and the same end."""

    pipe: int
    incarnation: int = 0
    generation: int = 0
    next: int = 1
    length: int | None = None  # of the generation, once it has ended
    ended: bool = False  # in this incarnation
    final: bool = False  # no generation follows


class AlignMachine(RuleBasedStateMachine):
    """Producers that die, resume and restart, and a job that looks at random times."""

    make: ClassVar[type[Aligner]] = Aligner

    @initialize(data=st.data(), count=st.integers(1, 3))
    def start(self, data: st.DataObject, count: int) -> None:
        specs = []
        for pipe in range(1, count + 1):
            block_count = data.draw(st.integers(1, 3))
            max_queue = data.draw(st.sampled_from([0, 0, 1, 2, 4]))
            dummy = data.draw(st.sampled_from([None, lambda pipe=pipe: f"dummy of {pipe}"]))
            specs.append(InputSpec(pipe, block_count, max_queue, dummy))
        self.aligner = self.make(specs)
        self.model = AlignModel(specs)
        self.producers = [Producer(pipe) for pipe in range(1, count + 1)]
        self.delivered = 0
        self.furthest = (0, 0)  # generation, the furthest compute block that it began with or had next
        self.arrived = dict.fromkeys(range(1, count + 1), 0)

    def feed(self, message: Message) -> None:
        if isinstance(message, Data):
            self.arrived[message.pipe] += len(message.payloads)
        assert feed(self.aligner, message) == feed(self.model, message)  # type: ignore[arg-type]  # the model has the same methods

    def producer(self, data: st.DataObject) -> Producer:
        return data.draw(st.sampled_from(self.producers))

    # what producers do

    @rule(data=st.data(), mark=st.integers(0, 3))
    def open(self, data: st.DataObject, mark: int) -> None:
        """The first incarnation, or one whose predecessor has just died: it begins somewhere in what there was."""
        one = self.producer(data)
        one.incarnation += 1
        if one.incarnation > 1:
            mark = data.draw(st.integers(max(0, one.next - 6), one.next - 1))
        one.next, one.ended = mark + 1, False
        if one.length is not None:
            one.next = min(one.next, one.length + 1)
        self.feed(Open(one.pipe, one.incarnation, one.generation, one.next - 1))

    @rule(data=st.data(), further=st.integers(0, 4))
    def mark(self, data: st.DataObject, further: int) -> None:
        """The earlier incarnation of the producer's own consumers had finished more than it knew."""
        one = self.producer(data)
        mark = one.next - 1 + further if one.length is None else one.length
        one.next = mark + 1
        self.feed(Open(one.pipe, one.incarnation, one.generation, mark))

    @rule(data=st.data(), higher=st.sampled_from([1, 1, 1, 2]), all_of_them=st.booleans())
    def new_generation(self, data: st.DataObject, higher: int, all_of_them: bool) -> None:
        chosen = [one for one in (self.producers if all_of_them else [self.producer(data)]) if not one.final]
        if not chosen:
            return
        generation = max(one.generation for one in chosen) + higher
        for one in chosen:
            one.incarnation += data.draw(st.integers(0, 1))
            one.generation, one.next, one.length, one.ended = generation, 1, None, False
            self.feed(Open(one.pipe, one.incarnation, one.generation, 0))

    @rule(data=st.data(), lost=st.sampled_from([0, 0, 0, 0, 1, 3]), count=st.integers(1, 7))
    def send(self, data: st.DataObject, lost: int, count: int) -> None:
        one = self.producer(data)
        first = one.next + lost
        last = first + count - 1 if one.length is None else min(first + count - 1, one.length)
        if not one.ended and last >= first:
            one.next = last + 1
            self.feed(self.blocks(one, first, last))

    @rule(data=st.data(), count=st.integers(1, 5))
    def send_from_an_older_incarnation(self, data: st.DataObject, count: int) -> None:
        one = self.producer(data)
        first = data.draw(st.integers(1, one.next + 2))
        older = [(one.incarnation - 1, one.generation), (one.incarnation, one.generation - 1)]
        incarnation, generation = data.draw(st.sampled_from([opened for opened in older if min(opened) >= 0] or [(99, one.generation)]))
        self.feed(self.blocks(Producer(one.pipe, incarnation, generation), first, first + count - 1))
        self.feed(End(one.pipe, incarnation, generation, first))

    @rule(data=st.data(), lost=st.sampled_from([0, 0, 2]), how=st.sampled_from(["", "", "final", "more"]))
    def end(self, data: st.DataObject, lost: int, how: str) -> None:
        one = self.producer(data)
        high = max(self.model.inputs[one.pipe].receiver.had)
        if one.length is None:
            one.length = max(high, one.next - 1) + lost
        one.ended, one.next = True, one.length + 1
        one.final = one.final or (how == "final" and one.incarnation > 0)
        self.feed(End(one.pipe, one.incarnation, one.generation, one.length, final=one.final, more=how == "more" and not one.final))

    @staticmethod
    def blocks(one: Producer, first: int, last: int) -> Data:
        return data(one.pipe, list(range(first, last + 1)), one.incarnation, one.generation)

    # what the job does

    @precondition(lambda self: self.model.beginning is not None)
    @rule(behind=st.sampled_from([0, 0, 0, 2]))
    def begin(self, behind: int) -> None:
        first = self.model.beginning + behind
        self.aligner.begin(first)
        self.model.begin(first)

    @rule(limit=st.sampled_from([1, 2, 5, MAX_BATCH]))
    def take(self, limit: int) -> None:
        batch = self.aligner.take(limit)
        generation = self.model.generation
        if batch is not None and batch.heads is None and len(self.model.inputs) == 1:
            limit = min(limit, len(batch.numbers))  # the next message of an only input may be a batch, though more is complete
        blocks = self.model.take(limit)
        assert (blocks_of(batch) if batch else []) == blocks
        if batch:
            assert batch.generation == generation
        self.delivered += len(blocks)

    @rule()
    def look(self) -> None:
        """As the job's loop does it."""
        if self.model.beginning is not None:
            self.begin(0)
        self.take(MAX_BATCH)

    @rule()
    def begin_wrongly(self) -> None:
        first = (self.model.beginning or 1) - 1
        with pytest.raises(LocalProtocolError):
            self.aligner.begin(first)

    @invariant()
    def same(self) -> None:
        aligner, model = self.aligner, self.model
        assert (aligner.generation, aligner.next, aligner.beginning) == (model.generation, model.next, model.beginning)
        assert aligner.finished is model.finished
        for done in (0, max(0, model.next - 2), model.next, 50):
            for generation in (model.generation, model.generation + 1):
                assert aligner.releasable(done, generation) == model.releasable(done, generation)
        for pipe, one in model.inputs.items():
            assert aligner.waiting(pipe) == sum(len(stage.waiting) for stage in one.stages.values())
            receiver = aligner.receivers[pipe - 1]
            assert (receiver.incarnation, receiver.generation) == (one.receiver.opened or (0, 0))

    @invariant()
    def never_back(self) -> None:
        """What was done or was known to be finished is not begun again in the same generation."""
        here = (self.aligner.generation, self.aligner.next or self.aligner.beginning or 0)
        assert here >= self.furthest
        self.furthest = here

    @invariant()
    def every_block_is_somewhere(self) -> None:
        for pipe, counts in self.aligner.counts().items():
            assert counts == self.model.inputs[pipe].counts
            assert self.arrived[pipe] == counts.received + counts.duplicates
            delivered = self.delivered * self.model.inputs[pipe].spec.block_count
            gone = counts.dropped + counts.unmatched + self.aligner.waiting(pipe)
            assert counts.received + counts.dummies == delivered + gone


TestAligner = AlignMachine.TestCase
TestAligner.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


# -- single rules -----------------------------------------------------------------------------------------------------


def begun(*specs: InputSpec, first: int = 1) -> Aligner:
    aligner = Aligner(specs)
    for spec in specs:
        aligner.open(Open(spec.pipe, 1, 0, 0))
    aligner.begin(first)
    return aligner


def taken(aligner: Aligner) -> list[ComputeBlock]:
    found: list[ComputeBlock] = []
    while batch := aligner.take():
        found += blocks_of(batch)
    return found


def test_a_message_that_fits_is_handed_on_as_it_is() -> None:
    aligner = begun(InputSpec(1))
    message = data(1, [1, 2, 3])
    aligner.data(message)
    batch = aligner.take()
    assert batch is not None
    assert batch.columns[0] is message.payloads
    assert batch.heads is None


def test_blocks_before_the_beginning_that_come_late_are_dropped() -> None:
    aligner = begun(InputSpec(1), InputSpec(2), first=5)
    assert aligner.data(data(1, [1, 2, 3])) == 0
    assert aligner.data(data(1, [4, 5, 6])) == 2
    aligner.data(data(2, [5, 6]))
    assert [number for number, *_ in taken(aligner)] == [5, 6]
    assert aligner.counts()[1] == InputCounts(received=2, duplicates=4)


def test_acknowledged_is_what_no_producer_keeps() -> None:
    aligner = Aligner([InputSpec(1), InputSpec(2, block_count=5)])
    aligner.open(Open(1, 1, 0, 40))
    aligner.open(Open(2, 1, 0, 150))
    assert (aligner.beginning, aligner.acknowledged) == (41, 30)
    aligner.begin(41)
    assert aligner.acknowledged == 30  # what was left out since does not count


def test_a_gap_without_end_is_taken_in_pieces() -> None:
    """Neither memory nor the stack grow with the gap."""
    aligner = begun(InputSpec(1))
    gap = 2_000 * MAX_BATCH
    aligner.data(data(1, [gap + 1]))
    batch = aligner.take(MAX_BATCH)
    assert batch is not None
    assert blocks_of(batch) == [(gap + 1, [payload(1, gap + 1)], [0])]
    aligner.end(End(1, 1, 0, gap + 3 * MAX_BATCH))
    sizes = []
    while batch := aligner.take():
        sizes.append(len(batch.numbers))
    assert sizes == [MAX_BATCH, MAX_BATCH, MAX_BATCH - 1]
    assert aligner.counts()[1] == InputCounts(received=1, lost=gap + 3 * MAX_BATCH - 1, dummies=3 * MAX_BATCH - 1)


def test_a_gap_at_the_end_of_a_limited_look() -> None:
    aligner = begun(InputSpec(1))
    aligner.data(data(1, [4]))
    batch = aligner.take(2)
    assert batch is not None
    assert blocks_of(batch) == [(4, ["1:4"], [0])]


def test_an_input_with_a_new_generation_releases_the_others() -> None:
    aligner = begun(InputSpec(1), InputSpec(2))
    aligner.data(data(1, [1, 2]))
    aligner.open(Open(1, 1, 1, 0))
    aligner.data(data(2, [1, 2, 3, 4]))
    assert len(taken(aligner)) == 2
    # blocks 3 and 4 cannot have a partner: their producer may continue, or it would never reach its new generation
    assert aligner.releasable(2, 0) == [(1, 2), (2, 4)]
    assert aligner.releasable(2, 1) == []
    assert aligner.counts()[2].unmatched == 2
    aligner.data(data(2, [5]))
    assert aligner.releasable(2, 0) == [(1, 2), (2, 5)]
    aligner.open(Open(2, 1, 1, 0))
    assert taken(aligner) == []
    assert aligner.beginning == 1


def test_an_input_that_leaves_for_a_new_generation_does_not_take_back_its_mark() -> None:
    """What lies before a mark is finished: it is not begun again, and what MAX_QUEUE dropped there is not lost as well."""
    aligner = Aligner([InputSpec(1), InputSpec(2, max_queue=1)])
    aligner.open(Open(1, 1, 0, 1))
    aligner.open(Open(2, 1, 0, 0))
    aligner.data(data(2, [1, 2]))
    aligner.begin(2)
    aligner.open(Open(1, 1, 0, 2))
    assert (aligner.next, aligner.beginning) == (0, 3)
    aligner.open(Open(1, 1, 1, 0))
    assert aligner.beginning == 3
    aligner.begin(3)
    assert taken(aligner) == []
    assert aligner.exhausted
    assert aligner.releasable(2, 0) == [(1, 2), (2, 2)]
    assert aligner.counts() == {1: InputCounts(), 2: InputCounts(duplicates=1, received=1, dropped=1)}
    aligner.data(data(2, [3]))
    assert aligner.counts()[2].unmatched == 1
    aligner.open(Open(2, 1, 1, 0))
    assert taken(aligner) == []
    assert (aligner.generation, aligner.beginning) == (1, 1)


def test_an_input_with_a_mark_that_has_left_before_the_others_came() -> None:
    aligner = Aligner([InputSpec(1, dummy=lambda: "dummy"), InputSpec(2)])
    aligner.open(Open(1, 1, 0, 4))
    aligner.open(Open(1, 1, 1, 0))
    aligner.open(Open(2, 1, 0, 0))
    assert aligner.beginning == 5
    aligner.begin(5)
    assert aligner.data(data(2, [1, 2, 3, 4])) == 0
    assert taken(aligner) == []
    assert aligner.releasable(4, 0) == [(1, 4), (2, 4)]


def test_dummies_are_marked_in_the_first_bit_of_heads_of_any_size() -> None:
    for size in range(1, 5):
        aligner = Aligner([InputSpec(1, dummy=lambda: "dummy")], size)
        aligner.open(Open(1, 1, 0, 0))
        aligner.begin(1)
        aligner.end(End(1, 1, 0, 1))
        assert taken(aligner) == [(1, ["dummy"], [1 << (8 * size - 1)])]


def test_a_pipe_that_is_not_an_input_is_refused() -> None:
    aligner = begun(InputSpec(1))
    for message in (Open(2, 1, 0, 0), data(2, [1]), End(2, 1, 0, 1)):
        with pytest.raises(RemoteProtocolError, match="pipe 2 is not an input"):
            feed(aligner, message)


@pytest.mark.parametrize("specs", [[], [InputSpec(1), InputSpec(1)], [InputSpec(1, block_count=0)], [InputSpec(1, max_queue=-1)]], ids=repr)
def test_inputs_that_cannot_be(specs: list[InputSpec]) -> None:
    with pytest.raises(LocalProtocolError):
        Aligner(specs)


# -- the tests are tested ---------------------------------------------------------------------------------------------


def with_inputs(broken: type[Input]) -> type[Aligner]:
    class Broken(Aligner):
        def __init__(self, specs: list[InputSpec], head_size: int = 1) -> None:
            super().__init__(specs, head_size)
            self._inputs = [broken(spec) for spec in specs]
            self._by_pipe = {one.spec.pipe: one for one in self._inputs}

    Broken.__name__ = broken.__name__
    return Broken


class ClosesGaps(Input):
    def pull(self, position: int, count: int) -> tuple[list[Any], list[int] | None, list[int]]:
        if self.stage.segments:
            first, payloads, heads = self.stage.segments[0]
            self.stage.segments[0] = (min(first, position), payloads, heads)
        return super().pull(position, count)


class TakesWhatLiesBefore(Input):
    """Lets go of what is there when the job begins, but not of what comes later."""

    def begin_at(self, position: int, *, receiving: bool) -> None:
        high = self.receiver.high
        super().begin_at(position, receiving=receiving)
        self.receiver.high = high


class DropsTheNewest(Input):
    def limit(self) -> None:
        excess = self.newest.waiting() - max(self.spec.max_queue, self.spec.block_count)
        while excess > 0:
            first, payloads, _ = self.newest.segments.pop()
            self.newest.dropped.append(range(first, first + len(payloads)))
            self.counts.dropped += len(payloads)
            excess -= len(payloads)


class ForgetsThePrevious(Input):
    def fill(self, items: list[Any], lost: list[int]) -> None:
        self.previous = LOST
        super().fill(items, lost)


class WithoutFence(Receiver):
    def current(self, incarnation: int, generation: int) -> bool:
        return self.mark is not None and generation == self.generation


class TakesTwice(Receiver):
    def accept(self, incarnation: int, generation: int, first: int, count: int) -> int:
        if self.current(incarnation, generation) and first + count - 1 <= self.high:
            return 0
        return super().accept(incarnation, generation, first, count)


class Unfenced(Input):
    def __init__(self, spec: InputSpec) -> None:
        super().__init__(spec)
        self.receiver = WithoutFence()


class Repeating(Input):
    def __init__(self, spec: InputSpec) -> None:
        super().__init__(spec)
        self.receiver = TakesTwice()


class BeginsAtTheSmallestMark(Aligner):
    @property
    def beginning(self) -> int | None:
        return None if super().beginning is None else min(self._first(one) for one in self._inputs)

    def begin(self, first: int) -> None:
        largest = super().beginning
        super().begin(max(first, largest or 0))
        self.next = first


class IgnoresLateMarks(Aligner):
    def open(self, message: Open) -> Arrival:
        before = self.next, self.generation
        arrival = super().open(message)
        if before[0] and before[1] == self.generation:
            self.next = before[0]
        return arrival


class SwitchesAtOnce(Aligner):
    """Does not work a generation off."""

    def open(self, message: Open) -> Arrival:
        arrival = super().open(message)
        self._switch()
        return arrival


class TakesMarksBack(Aligner):
    """Once an input has a newer generation, its mark in the one that is worked on counts no more."""

    def _first(self, one: Input) -> int:
        return super()._first(one) if one.coming is None else 1


class HidesDummies(Aligner):
    def __init__(self, specs: list[InputSpec], head_size: int = 1) -> None:
        super().__init__(specs, head_size)
        self._corrupted = 0


class KeepsWhatHasNoPartner(Aligner):
    def _complete(self) -> int:
        kept = [(one, list(one.stage.segments), one.counts.unmatched) for one in self._inputs]
        count = super()._complete()
        for one, segments, unmatched in kept:
            one.stage.segments.extend(segments if not one.stage.segments else ())
            one.counts.unmatched = unmatched
        return count


class ReleasesTheNewUnderTheOld(Aligner):
    def releasable(self, done: int, generation: int) -> list[tuple[int, int]]:
        return super().releasable(done, self.generation)


CAUGHT_IN_PLAYS = [
    with_inputs(ClosesGaps),
    with_inputs(TakesWhatLiesBefore),
    with_inputs(ForgetsThePrevious),
    BeginsAtTheSmallestMark,
    HidesDummies,
    KeepsWhatHasNoPartner,
]
CAUGHT_IN_INCARNATIONS = [
    *CAUGHT_IN_PLAYS,
    with_inputs(DropsTheNewest),
    with_inputs(Unfenced),
    with_inputs(Repeating),
    IgnoresLateMarks,
    SwitchesAtOnce,
    TakesMarksBack,
    ReleasesTheNewUnderTheOld,
]


@pytest.mark.parametrize("broken", CAUGHT_IN_PLAYS, ids=lambda broken: broken.__name__)
def test_a_broken_aligner_is_caught_in_plays(broken: type[Aligner]) -> None:
    assert_caught(lambda play: check_play(play, broken), plays())


@pytest.mark.parametrize("broken", CAUGHT_IN_INCARNATIONS, ids=lambda broken: broken.__name__)
def test_a_broken_aligner_is_caught_in_incarnations(broken: type[Aligner]) -> None:
    class Broken(AlignMachine):
        make = broken

    assert_machine_catches(Broken)
