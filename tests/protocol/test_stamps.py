"""Stamps go with their blocks: through jobs, joins, ratios, generations and replays."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from fission.protocol import frames
from fission.protocol.endpoint import Endpoint
from fission.protocol.endpoint_effects import SendData
from fission.protocol.endpoint_spec import EndpointSpec, OutputSpec
from fission.protocol.inputs import InputSpec
from fission.protocol.link_messages import Data, Message, Open, Release, Stamp
from fission.protocol.stamps import EVERY_S, MOST, MOST_GENERATIONS, MOST_NEWEST, Origin, OutputStamps, Sample, Stamps, join

SOURCE = EndpointSpec(outputs=[OutputSpec(1)], is_source=True, job=4)
RELAY = EndpointSpec(inputs=[InputSpec(1), InputSpec(2)], outputs=[OutputSpec(3), OutputSpec(4)], job=5)


def sent(endpoint: Endpoint, pipe: int | None = None) -> list[Message]:
    """Return what was sent since the last call."""
    found = [frames.decode(effect.message) for effect in endpoint.effects if isinstance(effect, SendData) and pipe in (None, effect.pipe)]
    endpoint.effects.clear()
    return found


def origins(source: int, at: float) -> dict[int, Origin]:
    return {source: Origin(source, 1, at)}


def check_source(every_s: float = EVERY_S) -> None:
    """A block that is put after `EVERY_S` has a stamp, ahead of it, with the time at which it was put."""
    endpoint = Endpoint(SOURCE)
    endpoint.start(0.0)
    sent(endpoint)
    for number in range(10):
        endpoint.put(0, b"x", 0, 100 + number * EVERY_S / 4)
        endpoint.flush()
    found = sent(endpoint)
    stamps = {message.sqn: message.origins[4].at for message in found if isinstance(message, Stamp)}
    assert stamps == {1: 100.0, 5: 100 + EVERY_S, 9: 100 + 2 * EVERY_S}
    order = [(type(message).__name__, message.sqn) for message in found if isinstance(message, Stamp | Data)]
    assert all(order[index + 1] == ("Data", number) for index, (kind, number) in enumerate(order) if kind == "Stamp")


def test_a_source_stamps_some_blocks_ahead_of_them() -> None:
    check_source()


def test_a_stamp_behind_its_block_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    def late(self: OutputStamps, generation: int, first: int, count: int, put_at: float) -> list[Any]:
        """A broken one: what should be sent now goes with the next message."""
        found, kept[:] = kept[:], [(first, origins(4, put_at))]
        return found

    monkeypatch.setattr(OutputStamps, "sent", late)
    with pytest.raises(AssertionError):
        check_source()


def test_a_replayed_block_has_its_first_time() -> None:
    endpoint = Endpoint(SOURCE)
    endpoint.start(0.0)
    for now in (100.0, 101.0, 102.0):
        endpoint.put(0, b"x", 0, now)
        endpoint.flush()
    endpoint.handle(Release(1, 1, 0, 1, 1), 103.0)
    sent(endpoint)
    endpoint.outputs[0].wire(2)
    stamps = {message.sqn: message.origins[4].at for message in sent(endpoint) if isinstance(message, Stamp)}
    assert stamps == {2: 101.0, 3: 102.0}


def relay() -> Endpoint:
    endpoint = Endpoint(RELAY)
    endpoint.start(0.0)
    for pipe in (1, 2):
        endpoint.settle(Open(pipe, 1, 0, 0), 0.0)
    endpoint.begin(1)
    sent(endpoint)
    return endpoint


def test_a_join_passes_on_the_earliest_time_of_each_source_on_every_output() -> None:
    endpoint = relay()
    endpoint.settle(Stamp(1, 1, 0, 2, origins(7, 5.0) | origins(8, 6.0)), 0.0)
    endpoint.settle(Stamp(2, 1, 0, 2, origins(7, 4.0) | origins(9, 3.0)), 0.0)
    for index in (0, 1):
        for _ in range(3):
            endpoint.put(index, b"x", 0, 50.0)
        endpoint.flush()
    found = [message for message in sent(endpoint) if isinstance(message, Stamp)]
    assert [(message.pipe, message.sqn) for message in found] == [(3, 2), (4, 2)]
    assert all(message.origins == origins(7, 4.0) | origins(8, 6.0) | origins(9, 3.0) for message in found)


def test_the_earliest_counts() -> None:
    assert join(origins(1, 2.0), origins(1, 1.0) | origins(2, 9.0)) == origins(1, 1.0) | origins(2, 9.0)


def test_a_measured_job_compares_when_it_is_done() -> None:
    stamps = Stamps({1: 2}, measured=True)
    for number, at in ((1, 10.0), (2, 9.0), (3, 11.0)):  # the first two are of one compute block
        stamps.arrived(1, number, 0, 0, 0, origins(7, at))
    stamps.done(1, 20.0)
    assert stamps.take() == [Sample(7, 1, 11.0)]
    stamps.done(2, 21.0)
    assert stamps.take() == [Sample(7, 1, 10.0)]
    assert stamps.arrived(1, 3, 0, 0, 2, origins(7, 1.0)) == (0, {})  # a replayed one of a block that is done
    assert stamps.arrived(99, 3, 0, 0, 2, origins(7, 1.0)) == (0, {})
    assert not stamps.waiting


def test_a_job_between_reports_the_newest_sample_of_each_source_and_of_few_sources() -> None:
    stamps = Stamps({1: 1}, measured=False)
    for number in range(1, 4):
        stamps.arrived(1, number, 0, 0, 0, {**origins(7, float(number)), **origins(8, 1.0)})
    stamps.done(3, 20.0)
    assert stamps.take() == [Sample(7, 1, 17.0), Sample(8, 1, 19.0)]
    assert stamps.take() == []
    stamps.arrived(1, 4, 0, 0, 3, {source: Origin(source, 1, 1.0) for source in range(100, 0, -1)})
    stamps.done(4, 2.0)
    assert sorted(sample.source for sample in stamps.take()) == list(range(1, MOST_NEWEST + 1))


@pytest.mark.parametrize(
    ("ratio", "blocks"), [(Fraction(1), [1, 2, 3]), (Fraction(2), [2, 4, 6]), (Fraction(1, 2), [1, 1, 2]), (None, [0, 0, 0])]
)
def test_the_output_block_of_a_ratio(ratio: Fraction | None, blocks: list[int]) -> None:
    stamps = Stamps({1: 1}, measured=False, ratio=ratio)
    assert [stamps.output(number) for number in (1, 2, 3)] == blocks


def test_stamps_of_a_newer_generation_wait_for_it() -> None:
    stamps = Stamps({1: 1}, measured=True)
    assert stamps.arrived(1, 1, 3, 2, 9, origins(7, 1.0)) == (0, {})
    assert stamps.arrived(1, 1, 1, 2, 9, origins(7, 1.0)) == (0, {})  # an older one
    assert stamps.switch(3) == {1: origins(7, 1.0)}
    stamps.done(1, 2.0)
    assert stamps.take() == [Sample(7, 1, 1.0)]


def test_memory_is_bounded() -> None:
    stamps, output = Stamps({1: 1}, measured=True), OutputStamps((1, 1))
    for number in range(1, 3 * MOST):
        stamps.arrived(1, number, 0, 0, 0, origins(7, 1.0))
        output.expect(number, origins(7, 1.0))
    assert len(stamps.waiting) == len(output.coming) == MOST
    for number in range(1, 3 * MOST):
        output.sent(0, number, 1, float(number))
    assert len(output.of(0)) == MOST
    output.released(lambda generation: 3 * MOST)
    assert output.of(0) == []


def test_stamps_of_generations_that_do_not_come_take_no_memory() -> None:
    stamps = Stamps({1: 1}, measured=True)
    for generation in range(2, 1000):
        assert stamps.arrived(1, 1, generation, 1, 0, origins(4, 1.0)) == (0, {})
    kept = [number for number in range(2, 1000) if stamps.switch(number)]
    assert kept == [*range(2, 2 + MOST_GENERATIONS)]
