"""The window and the receiver against simple models, and both together: whatever crashes, each block arrives once, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fission.errors import LocalProtocolError
from fission.protocol.link_messages import CLOSED
from fission.protocol.window import Arrival, Receiver, SendWindow, Sent
from tests.protocol.caught import assert_machine_catches
from tests.protocol.models import ReceiverModel

MACHINE = settings(max_examples=150, stateful_step_count=40, deadline=None)

# -- SendWindow -------------------------------------------------------------------------------------------------------


@dataclass
class Block:
    """One block, as the model knows it."""

    number: int
    item: int


class WindowModel:
    """Every block by itself: which ones exist, and which of them their consumer may still ask for."""

    def __init__(self, mark: int) -> None:
        self.numbered = mark  # the last number that was given to a block, or skipped
        self.gone = mark  # everything up to here was released
        self.blocks: list[Block] = []  # every block there ever was
        self.sizes: dict[int, int] = {}  # of the items

    def add(self, count: int, size: int) -> int:
        item = len(self.sizes)
        self.sizes[item] = size
        first = self.numbered + 1
        self.blocks += [Block(first + index, item) for index in range(count)]
        self.numbered += count
        self.settle()
        return item

    def settle(self) -> None:
        # what has no block cannot be asked for: numbering that only skipped has nothing open
        if not self.open_items():
            self.gone = max(self.gone, self.numbered)

    def let_go(self, upto: int) -> None:
        self.gone = max(self.gone, upto)
        self.settle()

    def open_items(self) -> list[int]:
        """Items of which at least one block is not released."""
        return sorted({block.item for block in self.blocks if block.number > self.gone})

    def of(self, item: int) -> list[int]:
        return [block.number for block in self.blocks if block.item == item]


class WindowMachine(RuleBasedStateMachine):
    """Add, skip, release and drop in any order."""

    make: ClassVar[type[SendWindow[int]]] = SendWindow

    @initialize(blocks=st.integers(1, 12), size=st.integers(1, 30), mark=st.integers(0, 5), needed=st.integers(1, 4))
    def start(self, blocks: int, size: int, mark: int, needed: int) -> None:
        self.window = self.make(blocks, size, mark=mark, needed=needed)
        self.model = WindowModel(mark)
        self.blocks, self.size, self.needed = max(blocks, 2 * needed), size, needed

    @rule(count=st.integers(1, 5), size=st.integers(0, 12))
    def add(self, count: int, size: int) -> None:
        expected = self.model.numbered + 1
        item = self.model.add(count, size)
        assert self.window.add(count, size, item) == expected

    @precondition(lambda self: self.window.room)
    @rule(data=st.data(), size=st.integers(0, 12))
    def add_what_fits(self, data: st.DataObject, size: int) -> None:
        self.add(data.draw(st.integers(1, self.window.room)), size)
        assert len(self.window) <= self.blocks

    @rule(ahead=st.integers(0, 6))
    def skip(self, ahead: int) -> None:
        self.window.skip(self.window.next + ahead)
        self.model.numbered += ahead
        self.model.settle()

    @rule(upto=st.integers(0, 80))
    def release(self, upto: int) -> None:
        news = upto > self.model.gone
        self.model.let_go(upto)
        assert self.window.release(upto) is news

    @rule(part=st.floats(0, 1))
    def release_some(self, part: float) -> None:
        self.release(self.model.gone + round(part * (self.model.numbered - self.model.gone)))

    @rule(count=st.integers(-1, 0), size=st.integers(-1, 0))
    def add_nothing(self, count: int, size: int) -> None:
        with pytest.raises(LocalProtocolError):
            self.window.add(count + 1, size, -1) if size else self.window.add(count, 0, -1)

    @rule()
    def skip_back(self) -> None:
        with pytest.raises(LocalProtocolError):
            self.window.skip(self.window.next - 1)

    @invariant()
    def numbers(self) -> None:
        assert self.window.next == self.model.numbered + 1
        assert self.window.released == self.model.gone
        assert len(self.window) == max(0, self.model.numbered - self.model.gone)

    @invariant()
    def a_new_incarnation_gets_what_it_needs(self) -> None:
        items = self.model.open_items()
        expected = [Sent(self.model.of(item)[0], self.model.of(item)[-1], self.model.sizes[item], item) for item in items]
        assert list(self.window.unreleased()) == expected
        assert self.window.used == sum(self.model.sizes[item] for item in items)

    @invariant()
    def room(self) -> None:
        unreleased = max(0, self.model.numbered - self.model.gone)
        full = self.window.used >= self.size and unreleased >= 2 * self.needed
        assert self.window.room == (0 if full else max(0, self.blocks - unreleased))
        # a consumer that collects one compute block while it holds another is never waited for
        assert self.window.room or unreleased >= 2 * self.needed


TestSendWindow = WindowMachine.TestCase
TestSendWindow.settings = MACHINE


def test_a_closed_consumer_needs_nothing() -> None:
    window: SendWindow[str] = SendWindow(4, 100)
    window.add(2, 10, "a")
    assert window.release(CLOSED)
    assert not window.release(CLOSED)
    assert window.add(3, 10, "b") == 3
    assert (len(window), window.used, window.room, window.released) == (0, 0, 4, CLOSED)
    assert not list(window.unreleased())


@pytest.mark.parametrize("limits", [{"blocks": 0}, {"size": 0}, {"mark": -1}, {"needed": 0}])
def test_limits_are_positive(limits: dict[str, int]) -> None:
    with pytest.raises(LocalProtocolError):
        SendWindow(**limits)


class ReleasesTooEarly(SendWindow[Any]):
    def release(self, upto: int) -> bool:
        return super().release(upto + 1)


class ReleasesHalfItems(SendWindow[Any]):
    def release(self, upto: int) -> bool:
        while self._items and self._items[0].first <= upto:
            self.used -= self._items.popleft().size
        return super().release(upto)


class KeepsReleased(SendWindow[Any]):
    def add(self, count: int, size: int, item: Any) -> int:
        released, self.released = self.released, 0
        try:
            return super().add(count, size, item)
        finally:
            self.released = released


class HasNegativeRoom(SendWindow[Any]):
    @property
    def room(self) -> int:
        return self._blocks - len(self)


class HoldsBackForOne(SendWindow[Any]):
    """Twice what is needed does not fit."""

    def __init__(self, blocks: int, size: int, *, mark: int = 0, needed: int = 1) -> None:
        super().__init__(blocks, size, mark=mark)


class CountsSkippedForEver(SendWindow[Any]):
    def _settle(self) -> None:
        pass


BROKEN_WINDOWS = [
    ReleasesTooEarly,
    ReleasesHalfItems,
    KeepsReleased,
    HasNegativeRoom,
    HoldsBackForOne,
    CountsSkippedForEver,
]


@pytest.mark.parametrize("broken", BROKEN_WINDOWS)
def test_a_broken_window_is_caught(broken: type[SendWindow[Any]]) -> None:
    class Broken(WindowMachine):
        make = broken

    assert_machine_catches(Broken)


# -- Receiver ---------------------------------------------------------------------------------------------------------

SMALL = st.integers(0, 12)
INCARNATIONS = GENERATIONS = st.integers(0, 3)


class ReceiverMachine(RuleBasedStateMachine):
    """Messages of any incarnations and generations with any numbers, whether a producer would send them or not."""

    make: ClassVar[type[Receiver]] = Receiver

    @initialize()
    def start(self) -> None:
        self.receiver = self.make()
        self.model = ReceiverModel()

    @rule(incarnation=INCARNATIONS, generation=GENERATIONS, mark=SMALL)
    def open(self, incarnation: int, generation: int, mark: int) -> None:
        assert self.receiver.open(incarnation, generation, mark) is self.model.open(incarnation, generation, mark)

    def compare_accept(self, opened: tuple[int, int], first: int, count: int) -> None:
        dropped = self.receiver.accept(*opened, first, count)
        assert list(range(first + dropped, first + count)) == self.model.accept(*opened, first, count)

    @rule(incarnation=INCARNATIONS, generation=GENERATIONS, first=st.integers(1, 20), count=st.integers(1, 6))
    def any_blocks(self, incarnation: int, generation: int, first: int, count: int) -> None:
        self.compare_accept((incarnation, generation), first, count)

    @precondition(lambda self: self.model.opened)
    @rule(offset=st.integers(-4, 3), count=st.integers(1, 6))
    def blocks(self, offset: int, count: int) -> None:
        assert self.model.opened is not None
        self.compare_accept(self.model.opened, max(1, max(self.model.had) + 1 + offset), count)

    @rule(incarnation=INCARNATIONS, generation=GENERATIONS, last=st.integers(0, 20))
    def end(self, incarnation: int, generation: int, last: int) -> None:
        assert self.receiver.end(incarnation, generation, last) is self.model.end(incarnation, generation, last)

    @rule(upto=SMALL)
    def skip(self, upto: int) -> None:
        self.receiver.skip(upto)
        self.model.have(upto)

    @invariant()
    def same(self) -> None:
        assert (self.receiver.incarnation, self.receiver.generation) == (self.model.opened or (0, 0))
        assert self.receiver.mark == (max(self.model.marks) if self.model.marks else None)
        assert self.receiver.high == max(self.model.had)
        assert self.receiver.last == self.model.last
        assert self.receiver.duplicates == self.model.refused
        for incarnation in range(4):
            for generation in range(4):
                assert self.receiver.current(incarnation, generation) is (self.model.opened == (incarnation, generation))


TestReceiver = ReceiverMachine.TestCase
TestReceiver.settings = MACHINE


class TakesTwice(Receiver):
    """Does not de-duplicate."""

    def accept(self, incarnation: int, generation: int, first: int, count: int) -> int:
        if not self.current(incarnation, generation):
            return super().accept(incarnation, generation, first, count)
        self.high = max(self.high, first + count - 1)
        return 0


class TakesFromTheDead(Receiver):
    """Does not fence."""

    def current(self, incarnation: int, generation: int) -> bool:
        return self.mark is not None


class GoesBackToOlderIncarnations(Receiver):
    def open(self, incarnation: int, generation: int, mark: int) -> Arrival:
        if incarnation < self.incarnation and generation == self.generation:
            self.incarnation = incarnation
        return super().open(incarnation, generation, mark)


class WaitsForLost(Receiver):
    """Takes a gap for blocks that will come."""

    def accept(self, incarnation: int, generation: int, first: int, count: int) -> int:
        if first > self.high + 1:
            return count
        return super().accept(incarnation, generation, first, count)


class ForgetsTheMark(Receiver):
    def open(self, incarnation: int, generation: int, mark: int) -> Arrival:
        high = self.high
        found = super().open(incarnation, generation, mark)
        if found is Arrival.NEW_INCARNATION:
            self.high = high
        return found


BROKEN_RECEIVERS = [TakesTwice, TakesFromTheDead, GoesBackToOlderIncarnations, WaitsForLost, ForgetsTheMark]


@pytest.mark.parametrize("broken", BROKEN_RECEIVERS)
def test_a_broken_receiver_is_caught(broken: type[Receiver]) -> None:
    class Broken(ReceiverMachine):
        make = broken

    assert_machine_catches(Broken)


# -- both ends of a link ----------------------------------------------------------------------------------------------

Link = deque[tuple[Any, ...]]


class LinkMachine(RuleBasedStateMachine):
    """A producer and a sink with a file, either of which may die at any moment: the file gets every block once, in order.

    What survives is the file, and what the producer's incarnation knew about releases (in the whole system its inputs do that:
    they are released later). The content of a block is its number. Messages of a dead producer may still arrive, late.
    """

    window_type: ClassVar[type[SendWindow[list[int]]]] = SendWindow
    receiver_type: ClassVar[type[Receiver]] = Receiver

    @initialize(blocks=st.integers(2, 8), length=st.integers(0, 30))
    def start(self, blocks: int, length: int) -> None:
        self.blocks, self.length = blocks, length
        self.incarnation = 1
        self.window = self.window_type(blocks, 1000)
        self.receiver = self.receiver_type()
        self.links: list[Link] = []  # of every incarnation, the newest last
        self.releases: deque[int] = deque()
        self.file: list[int] = []
        self.ended = False
        self.open_link()

    def open_link(self) -> None:
        """A link to the sink's present incarnation begins with the mark and with what is unreleased."""
        link: Link = deque([("open", self.incarnation, self.window.released)])
        link += [("data", self.incarnation, sent.first, sent.item) for sent in self.window.unreleased()]
        if self.ended:
            link.append(("end", self.incarnation, self.length))
        self.links.append(link)

    @precondition(lambda self: self.window.room and self.window.next <= self.length)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, min(self.window.room, self.length + 1 - self.window.next)))
        numbers = list(range(self.window.next, self.window.next + count))
        first = self.window.add(count, count, numbers)
        self.links[-1].append(("data", self.incarnation, first, numbers))

    @precondition(lambda self: self.window.next > self.length and not self.ended)
    @rule()
    def end(self) -> None:
        self.ended = True
        self.links[-1].append(("end", self.incarnation, self.length))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        ready = [link for link in self.links if link]
        if ready:
            self.take(data.draw(st.sampled_from(ready)).popleft())

    def take(self, message: tuple[Any, ...]) -> None:
        kind, incarnation, *rest = message
        if kind == "open":
            self.receiver.open(incarnation, 0, rest[0])
        elif kind == "end":
            if self.receiver.end(incarnation, 0, rest[0]):
                assert self.file == list(range(1, self.length + 1))
        else:
            first, numbers = rest
            had = self.receiver.accept(incarnation, 0, first, len(numbers))
            self.file += [number for number in numbers[had:] if number > len(self.file)]
            if had == len(numbers):
                self.releases.append(len(self.file))  # a duplicate: repeat what is released

    @rule()
    def release(self) -> None:
        self.releases.append(len(self.file))

    @precondition(lambda self: self.releases)
    @rule()
    def deliver_release(self) -> None:
        self.window.release(self.releases.popleft())

    @rule(data=st.data())
    def the_producer_dies(self, data: st.DataObject) -> None:
        # its new incarnation begins again somewhere after what was released, and makes the same blocks again
        mark = data.draw(st.integers(0, self.window.released))
        self.incarnation += 1
        self.window = self.window_type(self.blocks, 1000, mark=mark)
        self.releases.clear()
        self.ended = False
        self.open_link()

    @rule(written=st.integers(1, 3))
    def the_sink_dies_in_the_middle(self, written: int) -> None:
        """Of the next message it has written and released some blocks."""
        link = self.links[-1]
        while link and link[0][0] != "data":
            self.take(link.popleft())
        if link and self.receiver.current(self.incarnation, 0):
            _, _, _, numbers = link.popleft()
            self.file += [number for number in numbers if number > len(self.file)][:written]
            self.window.release(len(self.file))
        self.the_sink_dies()

    @rule()
    def the_sink_dies(self) -> None:
        self.receiver = self.receiver_type()
        self.links.clear()
        self.releases.clear()
        self.open_link()

    @invariant()
    def each_once_and_in_order(self) -> None:
        assert self.file == list(range(1, len(self.file) + 1))

    def teardown(self) -> None:
        if not hasattr(self, "links"):
            return
        # without further accidents everything arrives, and the producer can let go of everything
        for link in self.links:
            while link:
                self.take(link.popleft())
        self.each_once_and_in_order()
        assert len(self.file) >= self.window.next - 1
        self.window.release(len(self.file))
        assert self.window.room == self.blocks
        assert self.window.used == 0


TestLink = LinkMachine.TestCase
TestLink.settings = MACHINE


class LosesPartlyReleased(SendWindow[Any]):
    """Leaves out items that begin before what was released."""

    def unreleased(self) -> Iterator[Sent[Any]]:
        return (sent for sent in super().unreleased() if sent.first > self.released)


@pytest.mark.parametrize("broken", [ReleasesTooEarly, ReleasesHalfItems, LosesPartlyReleased])
def test_a_link_with_a_broken_window_is_caught(broken: type[SendWindow[Any]]) -> None:
    class Broken(LinkMachine):
        window_type = broken

    assert_machine_catches(Broken)


class TakesTheFileTwice(LinkMachine):
    """With a receiver that does not de-duplicate, and a sink that trusts it within its incarnation."""

    receiver_type = TakesTwice

    def take(self, message: tuple[Any, ...]) -> None:
        if message[0] == "data":
            _, incarnation, first, numbers = message
            had = self.receiver.accept(incarnation, 0, first, len(numbers))
            self.file += numbers[had:]
        else:
            super().take(message)


def test_a_link_with_a_broken_receiver_is_caught() -> None:
    assert_machine_catches(TakesTheFileTwice)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_window_without_releases_takes_exactly_its_size(blocks: int, needed: int) -> None:
    window: SendWindow[None] = SendWindow(blocks, 1 << 20, needed=needed)
    assert window.room == max(blocks, 2 * needed)
    window.add(window.room, 0, None)
    assert window.room == 0
