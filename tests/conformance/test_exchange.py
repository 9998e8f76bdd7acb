"""A job's pipes over every implementation of `fission.ports.Links`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from fission.errors import RemoteProtocolError
from fission.protocol import endpoint
from fission.protocol.dropping import DroppingOutput
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.frames import Buffer
from fission.protocol.output import Output
from fission.runtime import endpoint_shell
from fission.runtime.output_shell import OutputShell
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
    @property
    def may_continue(self) -> bool:
        return True


class SendsEachBlock(OutputShell):
    def put(self, payload: bytes | list[Buffer], head: int = 0, *, wait: bool = True) -> None:
        super().put(payload, head, wait=wait)
        self.flush()


class HoldsEachBlock(OutputShell):
    def put(self, payload: bytes | list[Buffer], head: int = 0, *, wait: bool = True) -> None:
        self.machine.hold_until = float("inf")
        super().put(payload, head, wait=wait)


class ForgetsHeads(OutputShell):
    def put(self, payload: bytes | list[Buffer], head: int = 0, *, wait: bool = True) -> None:
        super().put(payload, head if type(payload) is bytes and head else 0, wait=wait)


class SendsBigBlocksFirst(OutputShell):
    def put(self, payload: bytes | list[Buffer], head: int = 0, *, wait: bool = True) -> None:
        held = self.machine.pending[:]
        self.machine.pending.clear()
        super().put(payload, head, wait=wait)
        self.machine.pending[:0] = held


class DropsTheNewest(DroppingOutput):
    def add(self, payload: bytes | list[Buffer], head: int, now: float) -> float:
        if len(self._waiting) < self._keep:
            return super().add(payload, head, now)
        self._number += 1
        self._lost += 1
        return 0.0


class ClosesNothing(Inputs):
    def close(self) -> None:
        super().close()
        self.effects.clear()


CAUGHT = [
    ("Output", NeverWaits, "test_a_producer_waits_exactly_when_its_window_is_full"),
    ("OutputShell", SendsEachBlock, "test_a_busy_link_sends_many_blocks_at_once"),
    ("OutputShell", HoldsEachBlock, "test_an_idle_link_sends_at_once"),
    ("OutputShell", ForgetsHeads, "test_heads_travel_with_their_blocks"),
    ("OutputShell", SendsBigBlocksFirst, "test_large_blocks_keep_their_order"),
    ("DroppingOutput", DropsTheNewest, "test_a_producer_never_waits_for_a_consumer_with_max_queue"),
    ("Inputs", ClosesNothing, "test_nothing_goes_to_a_consumer_that_needs_nothing"),
]


@pytest.mark.parametrize(("name", "broken", "test"), CAUGHT, ids=[broken.__name__ for _, broken, _ in CAUGHT])
def test_a_broken_exchange_is_caught(monkeypatch: pytest.MonkeyPatch, name: str, broken: type, test: str) -> None:
    monkeypatch.setattr(endpoint_shell if name == "OutputShell" else endpoint, name, broken)
    monkeypatch.setattr(exchange, "DEADLINE_S", 0.2)
    place = MemoryPlace(deadline_s=0.2)  # a reader that waits in vain gets None then
    function = getattr(LineConformance(), test)
    arguments = (place, exchange.Clock()) if "clock" in inspect.signature(function).parameters else (place,)
    try:
        with pytest.raises((AssertionError, RemoteProtocolError)):
            function(*arguments)
    finally:
        place.end_tasks()
