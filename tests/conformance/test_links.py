"""One suite for every implementation of `fission.ports.Links`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from fission.adapters.memory_links import MemoryLinks, MemoryNetwork
from fission.errors import ProtocolError
from fission.ports import Links, Wiring
from fission.protocol.frames import Buffer
from tests.conformance.links import LinksConformance
from tests.conformance.places import PLACES, MemoryPlace, Place


class TestLinks(LinksConformance):
    @pytest.fixture(params=PLACES, ids=lambda kind: kind.__name__)
    def place(self, request: pytest.FixtureRequest) -> Iterator[Place]:
        place = request.param()
        yield place
        place.close()


# -- the suite is tested ----------------------------------------------------------------------------------------------


class LastInFirstOut(MemoryLinks):
    def receive(self, *, wait: bool = True) -> list[Buffer] | None:
        self._data._messages.reverse()
        try:
            return super().receive(wait=wait)
        finally:
            self._data._messages.reverse()


class DeafBeforeItListens(MemoryLinks):
    def __init__(self, wiring: Wiring, network: MemoryNetwork) -> None:
        network.leave(wiring.data)
        super().__init__(wiring, network)


class WakesByTakingAMessage(MemoryLinks):
    def wake(self) -> None:
        with self._data._changed:
            self._data._messages.clear()
        super().wake()


class ForgetsEmptyBuffers(MemoryLinks):
    def send(self, pipe: int, message_frames: Sequence[Buffer]) -> None:
        super().send(pipe, [frame for frame in message_frames if len(frame)])


class WakesBoth(MemoryLinks):
    def wake_control(self) -> None:
        super().wake_control()
        self.wake()


class SharesAddresses(MemoryLinks):
    def __init__(self, wiring: Wiring, network: MemoryNetwork) -> None:
        network.listening.clear()
        super().__init__(wiring, network)


class ReturnsAtOnce(MemoryLinks):
    def control(self, timeout: float | None) -> list[Buffer] | None:
        return super().control(0)


class AnswersTheFirst(MemoryLinks):
    @property
    def addresses(self) -> dict[str, str]:
        return {}

    def redirect(self, pipe: int, address: str) -> None:
        if pipe not in self._back:
            super().redirect(pipe, address)


class KeepsItsAddresses(MemoryLinks):
    def close(self, linger: float) -> None:
        self._closed = True


class RaisesWhenItIsLate(MemoryLinks):
    def answer(self, pipe: int, frame: Buffer) -> None:
        if self._closed:
            raise RuntimeError("closed")
        super().answer(pipe, frame)


CAUGHT = [
    (LastInFirstOut, LinksConformance.test_messages_keep_their_order),
    (DeafBeforeItListens, LinksConformance.test_sending_works_before_the_other_end_listens),
    (WakesByTakingAMessage, LinksConformance.test_waking_loses_no_message),
    (ForgetsEmptyBuffers, LinksConformance.test_large_blocks_arrive_whole_and_in_order),
    (WakesBoth, LinksConformance.test_waking_one_reader_does_not_wake_the_other),
    (SharesAddresses, LinksConformance.test_an_address_has_one_owner),
    (ReturnsAtOnce, LinksConformance.test_control_gives_up_after_its_timeout),
    (AnswersTheFirst, LinksConformance.test_answers_go_to_another_producer),
    (KeepsItsAddresses, LinksConformance.test_nothing_is_left_behind),
    (RaisesWhenItIsLate, LinksConformance.test_waking_and_answering_after_the_end_do_nothing),
]


@pytest.mark.parametrize(("broken", "test"), CAUGHT, ids=[broken.__name__ for broken, _ in CAUGHT])
def test_broken_links_are_caught(broken: type[MemoryLinks], test: Callable[[LinksConformance, Place], None]) -> None:
    class BrokenPlace(MemoryPlace):
        def make(self, wiring: Wiring) -> Links:
            return broken(wiring, self.network)

    place = BrokenPlace(deadline_s=0.2)  # a reader that waits in vain gets None then
    try:
        with pytest.raises((AssertionError, RuntimeError, ProtocolError, pytest.fail.Exception)):
            test(LinksConformance(), place)
    finally:
        place.end_tasks()
