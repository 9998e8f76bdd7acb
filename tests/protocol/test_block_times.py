"""Times travel with their blocks: in every kind of message, through joins, ratios, generations and replays."""

from __future__ import annotations

from fractions import Fraction
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol import frames
from fission.protocol.block_times import BYTES, LOOK_AT, MOST_GENERATIONS, UNKNOWN, BlockTimes, ReceivedTimes, join, pack, unpack
from fission.protocol.endpoint import Endpoint
from fission.protocol.endpoint_effects import SendControl, SendData
from fission.protocol.endpoint_spec import EndpointSpec, OutputSpec
from fission.protocol.inputs import InputSpec
from fission.protocol.joined import join as joined
from fission.protocol.joined import separate
from fission.protocol.large_blocks import Leased, add_times
from fission.protocol.link_messages import Data, Open, Release, Times
from fission.protocol.messages.client_to_job import WirePipe

RELAY = EndpointSpec(inputs=[InputSpec(1, asked=True), InputSpec(2, block_count=2)], outputs=[OutputSpec(3, timed=True), OutputSpec(4)])


def at(second: float, late: float | None = None) -> bytes:
    """Return a time whose monotonic clock is 1000 s behind."""
    late = second if late is None else late
    return pack((second, late, second - 1000, late - 1000))


def times_of(data: Data) -> list[bytes]:
    assert data.times is not None
    return [data.times[index * BYTES : (index + 1) * BYTES] for index in range(len(data.payloads))]


def sent(endpoint: Endpoint, pipe: int) -> list[Data]:
    """Return the blocks that were sent since the last call."""
    found = [frames.decode(effect.message) for effect in endpoint.effects if isinstance(effect, SendData) and effect.pipe == pipe]
    endpoint.effects.clear()
    return [message for message in found if isinstance(message, Data)]


# -- messages


PLACE = 7, 2, 3, 5
MESSAGES = {
    "one": [frames.encode_data(*PLACE, [b"ab"], None)],
    "several": [frames.encode_data(*PLACE, [b"ab", b"", b"c"], [1, 2, 3])],
    "joined": [frames.encode_joined(*PLACE, 3, joined([1, "two", 3.0]))],
    "packed": [frames.encode_packed(*PLACE, 2, 6, [b"abcdef"])],
    "big": frames.encode_big(*PLACE, [[b"a", b"xyz"], [b"b"]], None),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_kind_of_message_carries_times(kind: str) -> None:
    plain: Any = frames.decode(MESSAGES[kind])
    times = b"".join(at(100.0 + index) for index in range(len(plain.payloads)))
    message = list(MESSAGES[kind])
    add_times(message, times)
    found: Any = frames.decode(message)
    assert found.times == times
    assert plain.times is None
    assert found[:4] == plain[:4]
    assert found.heads == plain.heads
    if kind in ("joined", "packed"):
        assert list(separate(found.payloads)) == list(separate(plain.payloads))
    else:
        assert found.payloads == plain.payloads
    assert frames.announces_more(message[0]) == (kind == "big")


def test_a_message_in_shared_memory_has_its_times_afar_too() -> None:
    message = Leased([frames.encode_data(*PLACE, [b"near"], None)], [], lambda: [frames.encode_data(*PLACE, [b"far"], None)])
    add_times(message, at(5.0))
    far = message.for_afar()
    assert [(one.payloads, one.times) for one in (frames.decode(message), frames.decode(far))] == [  # type: ignore[union-attr]
        ([b"near"], at(5.0)),
        ([b"far"], at(5.0)),
    ]
    assert isinstance(far, Leased)
    assert frames.decode(far.for_afar()).times == at(5.0)


def test_times_that_do_not_fit_are_refused() -> None:
    with pytest.raises(LocalProtocolError, match="2 blocks need 64 bytes of times; got 32"):
        frames.add_times(frames.encode_data(*PLACE, [b"a", b"b"], None), at(1.0))
    whole = frames.add_times(frames.encode_data(*PLACE, [b"a"], None), at(1.0))
    for cut in range(len(whole)):
        with pytest.raises(RemoteProtocolError):
            frames.decode([whole[:cut]])
    with pytest.raises(LocalProtocolError):
        frames.encode_times(Times(1, 1, 0, 1, b"x"))
    with pytest.raises(RemoteProtocolError):
        frames.decode([frames.encode_times(Times(1, 1, 0, 1, at(1.0)))[:-1]])


@pytest.mark.parametrize("times", [b"", at(1.0) + at(2.0)])
def test_an_answer_is_decoded(times: bytes) -> None:
    assert frames.decode([frames.encode_times(Times(3, 2, 1, 9, times))]) == Times(3, 2, 1, 9, times)


# -- joins and ratios


def test_a_join_has_the_earliest_and_the_latest_with_their_own_monotonic_clocks() -> None:
    other_node = pack((7.0, 7.0, 50.0, 50.0))
    assert unpack(join(at(5.0), other_node)) == (5.0, 7.0, -995.0, 50.0)
    assert join(other_node, at(5.0)) == join(at(5.0), other_node)
    assert join(at(5.0), UNKNOWN) == join(UNKNOWN, at(5.0)) == at(5.0)
    assert join(UNKNOWN, UNKNOWN) == UNKNOWN


def relay() -> Endpoint:
    endpoint = Endpoint(RELAY)
    endpoint.start(0.0)
    for pipe in (1, 2):
        endpoint.settle(Open(pipe, 1, 0, 0), 0.0)
    endpoint.begin(1)
    endpoint.effects.clear()
    return endpoint


def fed(endpoint: Endpoint, pipe: int, first: int, *times: bytes, incarnation: int = 1, generation: int = 0) -> None:
    endpoint.accept(Data(pipe, incarnation, generation, first, [b"x"] * len(times), None, b"".join(times)))


def test_a_block_has_the_times_of_the_compute_block_that_it_results_from() -> None:
    endpoint = relay()
    fed(endpoint, 1, 1, at(10.0), at(20.0))
    fed(endpoint, 2, 1, at(9.0), at(11.0), at(21.0))
    fed(endpoint, 2, 4, at(25.0))
    assert [endpoint.times.of(number) for number in (1, 2, 3)] == [at(9.0, 11.0), at(20.0, 25.0), UNKNOWN]
    for index in (0, 1):
        for _ in range(2):
            endpoint.put(index, b"y", 0, 0.0)
        endpoint.flush()
    messages = [frames.decode(effect.message) for effect in endpoint.effects if isinstance(effect, SendData)]
    data = [message for message in messages if isinstance(message, Data)]
    assert [time for message in data if message.pipe == 3 for time in times_of(message)] == [at(9.0, 11.0), at(20.0, 25.0)]
    assert all(message.times is None for message in data if message.pipe == 4), "no job after this output asks for times"


@pytest.mark.parametrize(
    ("ratio", "wanted"),
    [
        (Fraction(1), [(1, 1), (2, 2), (3, 3)]),
        (Fraction(2), [(1, 1), (1, 1), (2, 2), (2, 2), (3, 3)]),
        (Fraction(1, 2), [(1, 2), (3, 4), (5, 6)]),
        (Fraction(3, 2), [(1, 1), (1, 2), (2, 2), (3, 3), (3, 4), (4, 4)]),
    ],
)
def test_blocks_of_a_program_with_a_ratio(ratio: Fraction, wanted: list[tuple[int, int]]) -> None:
    times = BlockTimes({1: 1}, own=False, ratio=ratio, used=lambda: (0, 0))
    times.arrived(Data(1, 1, 0, 1, [b""] * 6, None, b"".join(at(float(number)) for number in range(1, 7))), 6)
    found = times.of_outputs(1, len(wanted))
    assert found == b"".join(at(float(first), float(last)) for first, last in wanted)


def test_blocks_of_a_program_without_a_known_ratio_have_times_of_their_own_the_same_on_all_outputs() -> None:
    clock = iter(range(100))
    for times in (
        BlockTimes({1: 1}, own=False, ratio=None, used=lambda: (0, 0)),
        BlockTimes({1: 1}, own=False, ratio=Fraction(1), used=lambda: (0, 0)),
    ):
        times.detach()
        times.fresh = lambda: at(float(next(clock)))
        times.arrived(Data(1, 1, 0, 1, [b""], None, at(77.0)), 1)
        first = times.of_outputs(1, 2)
        assert times.of_outputs(1, 2) == first
        assert times.of_outputs(2, 2)[:BYTES] == first[BYTES:]
        assert UNKNOWN not in first
        assert at(77.0) not in first


# -- generations, duplicates, memory


def test_the_first_time_of_a_block_counts() -> None:
    endpoint = relay()
    fed(endpoint, 1, 1, at(1.0), at(2.0))
    endpoint._commands.handle(WirePipe(pipe=1, address="", peer=9, incarnation=2, near=True))
    endpoint.settle(Open(1, 2, 0, 0), 0.0)
    fed(endpoint, 1, 2, at(50.0), at(60.0), incarnation=2)
    assert [endpoint.times.of(number) for number in (1, 2, 3)] == [at(1.0), at(2.0), at(60.0)]


def test_a_generation_to_come_waits_and_many_take_no_memory() -> None:
    times = BlockTimes({1: 1}, own=False, ratio=Fraction(1), used=lambda: (0, 0))
    for generation in (3, 9, 1, 2, 8, 7, 6):
        times.arrived(Data(1, 1, generation, 1, [b""], None, at(float(generation))), 1)
    assert times.of(1) == UNKNOWN
    assert len(times._coming) == MOST_GENERATIONS
    times.switch(2)
    assert times.of(1) == at(2.0)
    times.arrived(Data(1, 1, 1, 1, [b""], None, at(1.0)), 1)  # an older one
    assert times.of(1) == at(2.0)


@pytest.mark.parametrize("own", [False, True])
def test_times_are_forgotten_when_their_blocks_are_sent(own: bool) -> None:
    done = 0
    times = BlockTimes({} if own else {1: 1}, own=own, ratio=Fraction(1), used=lambda: (inf, done))
    most = 0
    for number in range(1, 10 * LOOK_AT):
        if own:
            times.made(number, at(float(number)))
        else:
            times.arrived(Data(1, 1, 0, number, [b""], None, at(float(number))), 1)
        assert times.of_outputs(number, 1) == at(float(number))
        done = max(0, number - 50)
        most = max(most, len(times._made) + len(times._arrived) + len(times._in_order))
    assert most <= LOOK_AT + 1


# -- replays, and blocks that are made again


def source(incarnation: int = 1) -> Endpoint:
    outputs = [OutputSpec(pipe, timed=True, asks=incarnation > 1) for pipe in (1, 2)]
    endpoint = Endpoint(EndpointSpec(outputs=outputs, is_source=True, job=4, incarnation=incarnation))
    endpoint.start(0.0)
    return endpoint


def test_a_replayed_block_has_its_first_time() -> None:
    endpoint = source()
    for number in (1, 2, 3):
        endpoint.times.made(number, at(float(number)))
        endpoint.put(0, b"x", 0, 0.0)
        endpoint.flush()
    assert [times_of(data) for data in sent(endpoint, 1)] == [[at(1.0)], [at(2.0)], [at(3.0)]]
    endpoint.handle(Release(1, 1, 0, 1, 1), 0.0)
    endpoint.effects.clear()
    endpoint.outputs[0].wire(2)
    assert [(data.sqn, times_of(data)) for data in sent(endpoint, 1)] == [(2, [at(2.0)]), (3, [at(3.0)])]


def test_a_new_source_asks_and_gives_the_blocks_their_old_times() -> None:
    endpoint = source(2)
    endpoint.begin(4)
    assert endpoint.asks_times
    endpoint.handle(Times(1, 1, 0, 5, at(5.0) + UNKNOWN + at(7.0)), 0.0)
    assert endpoint.asks_times, "the other consumer has not answered"
    endpoint.handle(Times(2, 1, 0, 1, b""), 0.0)
    assert not endpoint.asks_times
    endpoint.handle(Times(2, 1, 0, 8, at(8.0)), 0.0)  # not asked for
    for number in range(4, 9):
        endpoint.times.made(number, at(100.0 + number))
        for index in (0, 1):
            endpoint.put(index, b"x", 0, 0.0)
    endpoint.flush()
    wanted = [at(104.0), at(5.0), at(106.0), at(7.0), at(108.0)]
    messages = [frames.decode(effect.message) for effect in endpoint.effects if isinstance(effect, SendData)]
    for pipe in (1, 2):
        found = [time for data in messages if isinstance(data, Data) and data.pipe == pipe for time in times_of(data)]
        assert found == wanted


def test_consumers_that_need_nothing_or_are_elsewhere_hold_up_nothing() -> None:
    endpoint = source(2)
    endpoint.handle(Release(1, 1, 0, 2**63 - 1, 2**63 - 1), 0.0)
    endpoint.handle(Times(2, 1, 7, 1, at(5.0)), 0.0)  # of a generation that this source does not know yet
    assert not endpoint.asks_times
    endpoint.times.made(1, at(9.0))
    assert endpoint.times.of_outputs(1, 1) == at(9.0)


def reported(endpoint: Endpoint) -> list[Times]:
    found = [frames.decode([effect.message]) for effect in endpoint.effects if isinstance(effect, SendControl)]
    endpoint.effects.clear()
    return [message for message in found if isinstance(message, Times)]


def test_a_consumer_reports_what_it_has_had_when_it_hears_of_a_new_source() -> None:
    endpoint = relay()
    fed(endpoint, 1, 1, at(1.0), at(2.0))
    fed(endpoint, 1, 3, at(3.0))
    wire = WirePipe(pipe=1, address="", peer=9, incarnation=2, near=True)
    endpoint._commands.handle(wire)
    assert reported(endpoint) == [Times(1, 1, 0, 1, at(1.0) + at(2.0) + at(3.0))]
    endpoint.settle(Open(1, 2, 0, 0), 0.0)
    assert reported(endpoint) == [], "once is enough"
    endpoint._commands.handle(wire)  # after the client was away
    assert len(reported(endpoint)) == 1
    fed(endpoint, 2, 1, at(1.0))
    endpoint._commands.handle(WirePipe(pipe=2, address="", peer=9, incarnation=2, near=True))
    assert reported(endpoint) == [], "the producer of this pipe does not ask"


def test_a_consumer_that_opens_after_the_new_source_reports_that_it_has_nothing() -> None:
    endpoint = Endpoint(RELAY)
    endpoint.start(0.0)
    endpoint.settle(Open(1, 3, 0, 0), 0.0)
    assert reported(endpoint) == [Times(1, 1, 0, 1, b"")]


messages = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(1, 5), st.integers(0, 5)), max_size=30)


@given(messages, st.integers(1, 20))
def test_what_was_received_is_what_was_accepted(messages: list[tuple[int, int, int, int]], most: int) -> None:
    """Against a dict: of each message only the last blocks are accepted, or none; newer generations replace older ones."""
    received, model, generation = ReceivedTimes(most), dict[int, bytes](), 0
    for step, (newer, first, count, accepted) in enumerate(messages):
        times = [at(100.0 * step + index) for index in range(count)]
        new = min(count, accepted) if newer >= generation else 0
        if newer == generation and first + count - new <= max(model, default=0):
            new = 0  # numbers of accepted blocks only grow
        received.offer(newer, first, b"".join(times))
        received.accept(first + count - new, b"".join(times[count - new :]))
        if new:
            if newer > generation:
                generation, model = newer, {}
            begin = first + count - new
            model.update(enumerate(times[count - new :], begin))
    found_generation, begin, found = received.answer()
    got = {begin + index: found[index * BYTES : (index + 1) * BYTES] for index in range(len(found) // BYTES)}
    got = {number: time for number, time in got.items() if time != UNKNOWN}
    assert found_generation == generation
    assert got.items() <= model.items()
    if model:
        assert max(got) == max(model)
        if all(after - before == 1 for before, after in zip(sorted(model), sorted(model)[1:], strict=False)):
            assert set(sorted(model)[-most:]) <= got.keys()


def test_blocks_that_are_offered_are_heard_before_they_are_accepted() -> None:
    """Between the two, another thread may announce a new source, whose blocks are accepted from then on."""
    received = ReceivedTimes(10)
    received.offer(0, 1, at(1.0) + at(2.0))
    assert received.answer() == (0, 1, at(1.0) + at(2.0))
    received.accept(3, b"")
    assert received.answer() == (0, 1, b"")
