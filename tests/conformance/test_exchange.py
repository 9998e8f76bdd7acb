"""A job's pipes over every implementation of `fission.ports.Links`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from fission.errors import RemoteProtocolError
from fission.protocol.frames import CLOSED, Buffer
from fission.runtime.dropping import DroppingOutput
from fission.runtime.inputs import Inputs
from fission.runtime.output import Output
from tests.conformance import exchange
from tests.conformance.exchange import LineConformance
from tests.conformance.networks import NetworkConformance
from tests.conformance.places import PLACES, MemoryPlace, Place


@pytest.fixture(params=PLACES, ids=lambda kind: kind.__name__)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    place = request.param()
    yield place
    place.close()


class TestLine(LineConformance):
    pass


class TestNetwork(NetworkConformance):
    pass


# -- the suite is tested ----------------------------------------------------------------------------------------------


class NeverWaits(Output):
    def _wait_for_room(self) -> None:
        pass


class SendsEachBlock(Output):
    def put(self, payload: bytes | list[Buffer], head: int = 0) -> None:
        super().put(payload, head)
        self.flush()


class HoldsEachBlock(Output):
    def put(self, payload: bytes | list[Buffer], head: int = 0) -> None:
        self._hold_until = float("inf")
        super().put(payload, head)


class ForgetsHeads(Output):
    def put(self, payload: bytes | list[Buffer], head: int = 0) -> None:
        super().put(payload, head if type(payload) is bytes and head else 0)


class SendsBigBlocksFirst(Output):
    def put(self, payload: bytes | list[Buffer], head: int = 0) -> None:
        held, self._pending = self._pending, []
        super().put(payload, head)
        self._pending = held + self._pending


class DropsTheNewest(DroppingOutput):
    def put(self, payload: bytes | list[Buffer], head: int = 0) -> None:
        if len(self._waiting) < self._keep:
            super().put(payload, head)
        else:
            self._number += 1
            self._lost += 1


class ClosesNothing(Inputs):
    def close(self) -> None:
        super().close()
        self._links.control(0)

    def _send(self, pipe: int, upto: int, taken: int) -> None:
        if upto < CLOSED:
            super()._send(pipe, upto, taken)


CAUGHT = [
    ("Output", NeverWaits, "test_a_producer_waits_exactly_when_its_window_is_full"),
    ("Output", SendsEachBlock, "test_a_busy_link_sends_many_blocks_at_once"),
    ("Output", HoldsEachBlock, "test_an_idle_link_sends_at_once"),
    ("Output", ForgetsHeads, "test_heads_travel_with_their_blocks"),
    ("Output", SendsBigBlocksFirst, "test_big_blocks_keep_their_place"),
    ("DroppingOutput", DropsTheNewest, "test_a_producer_never_waits_for_a_consumer_with_max_queue"),
    ("Inputs", ClosesNothing, "test_nothing_goes_to_a_consumer_that_needs_nothing"),
]


@pytest.mark.parametrize(("name", "broken", "test"), CAUGHT, ids=[broken.__name__ for _, broken, _ in CAUGHT])
def test_a_broken_exchange_is_caught(monkeypatch: pytest.MonkeyPatch, name: str, broken: type, test: str) -> None:
    monkeypatch.setattr(exchange, name, broken)
    monkeypatch.setattr(exchange, "DEADLINE_S", 0.2)
    place = MemoryPlace(deadline_s=0.2)  # who waits for what never comes gets None then
    function = getattr(LineConformance(), test)
    arguments = (place, exchange.Clock(monkeypatch)) if "clock" in inspect.signature(function).parameters else (place,)
    try:
        with pytest.raises((AssertionError, RemoteProtocolError)):
            function(*arguments)
    finally:
        place.end_tasks()
