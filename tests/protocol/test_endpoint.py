"""One job's endpoint alone, two wired back to back, and chains of three that lose messages and incarnations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import strategies as st

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol import frames
from fission.protocol.checkpointing import CheckpointSpec
from fission.protocol.ending import EndStage, JobEnd
from fission.protocol.endpoint import Endpoint
from fission.protocol.endpoint_effects import Arm, Effect, Redirect, RetainGroup, SendControl, SendData, TellClient, Wake
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.endpoint_spec import EndpointSpec, OutputSpec
from fission.protocol.inputs import InputSpec
from fission.protocol.link_messages import CLOSED, Data, End, Message, Open, Release, Starved
from fission.protocol.messages.client_to_job import (
    AcknowledgeEnd,
    CheckpointStored,
    ClientToJob,
    CloseOutput,
    OpenTap,
    RepeatReports,
    ResetGeneration,
    RewirePipe,
    ValueStored,
    WirePipe,
)
from fission.protocol.messages.job_to_client import BlocksReplayed, SaveSnapshot, SnapshotStable, WorkDone
from fission.protocol.optional import OptionalSpec
from fission.protocol.output import Output
from fission.protocol.pacing import HELD_AT_MOST_S, HOLD_S, PRESS_S
from fission.protocol.release import RELEASE_AFTER_S, ReleaseRule
from fission.protocol.retained_values import REPLAY_S
from fission.protocol.window import Receiver
from tests.protocol.caught import assert_caught
from tests.protocol.endpoint_chain import run_chain

PIPE = 1


class JobAlone:
    """One job: an endpoint whose effects wait to be looked at or delivered."""

    def __init__(self, **spec: Any) -> None:
        self.now = 0.0
        self.endpoint = Endpoint(EndpointSpec(**spec))
        self.endpoint.start(self.now)

    def effects(self) -> list[Effect]:
        """Perform the effects: return them."""
        found: list[Effect] = []
        while self.endpoint.effects:
            found += self.endpoint.effects
            self.endpoint.effects.clear()
            self.endpoint.performed(self.now)
        return found

    def sent(self) -> list[Message]:
        """Perform the effects: return what goes to other jobs."""
        return [
            frames.decode(effect.message if isinstance(effect, SendData) else [effect.message])
            for effect in self.effects()
            if isinstance(effect, (SendData, SendControl))
        ]

    def said(self) -> list[Any]:
        """Perform the effects: return what goes to the client."""
        return [effect.message for effect in self.effects() if isinstance(effect, TellClient)]

    def put(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.endpoint.put(0, payload, 0, self.now)
        self.endpoint.flush()

    def command(self, message: ClientToJob) -> None:
        self.endpoint.control_received([frames.encode_command(message)], self.now)

    def release(self, upto: int, taken: int | None = None, **fields: Any) -> None:
        release = Release(PIPE, fields.pop("incarnation", 1), fields.pop("generation", 0), upto, upto if taken is None else taken)
        self.endpoint.control_received([frames.encode_release(release)], self.now)


def producer(**spec: Any) -> JobAlone:
    """Return a source with one output."""
    made = JobAlone(**{"outputs": [OutputSpec(PIPE)], "is_source": True, "client": True, **spec})
    made.effects()
    return made


def consumer(**spec: Any) -> JobAlone:
    """Return a job with one input and no output."""
    made = JobAlone(**{"inputs": [InputSpec(PIPE)], "client": True, **spec})
    made.effects()
    return made


def join(one: JobAlone, other: JobAlone) -> None:
    """Deliver everything until nothing is under way."""
    moved = True
    while moved:
        moved = False
        for sender, receiver in ((one, other), (other, one)):
            for effect in sender.effects():
                if isinstance(effect, SendData):
                    receiver.endpoint.data_received([bytes(frame) for frame in effect.message], receiver.now)
                    moved = True
                elif isinstance(effect, SendControl):
                    receiver.endpoint.control_received([effect.message], receiver.now)
                    moved = True


def take(end: JobAlone) -> list[bytes]:
    """Let a sink's loop process what is complete; return its payloads."""
    endpoint, payloads = end.endpoint, []
    aligner = endpoint.inputs.aligner
    assert aligner is not None
    while True:
        if aligner.beginning is not None:
            if aligner.generation != endpoint.rule.generation:
                endpoint.switch(aligner.generation)
            endpoint.begin(aligner.beginning)
        batch = endpoint.take()
        if batch is not None:
            endpoint.done(batch.numbers[-1], end.now)
            payloads += batch.columns[0]
        elif aligner.beginning is None:
            return payloads


def pair(**spec: Any) -> tuple[JobAlone, JobAlone]:
    """Return a producer and a consumer that have begun."""
    first = JobAlone(outputs=[OutputSpec(PIPE)], is_source=True, client=True, **spec)
    second = JobAlone(inputs=[InputSpec(PIPE)], client=True, **spec)
    join(first, second)
    assert take(second) == []
    return first, second


# -- two ends ---------------------------------------------------------------------------------------------------------


def test_blocks_arrive_and_are_released() -> None:
    first, second = pair()
    first.put(b"a", b"b", b"c")
    join(first, second)
    assert take(second) == [b"a", b"b", b"c"]
    output = first.endpoint.outputs[0]
    second.endpoint.release(second.now, force=True)
    join(first, second)
    assert (output.released, len(output.window)) == (3, 0)


def test_a_small_release_waits_until_its_deadline_after_another() -> None:
    first, second = pair()
    first.put(b"a")
    join(first, second)
    take(second)
    assert [message.released for message in second.sent() if isinstance(message, Release)] == [1]  # a slow link needs no timer
    first.put(b"b")
    join(first, second)
    take(second)
    assert [effect for effect in second.effects() if not isinstance(effect, Arm)] == []
    due = second.endpoint.tick(0.0)
    assert due == second.endpoint.next_deadline == RELEASE_AFTER_S
    second.endpoint.tick(RELEASE_AFTER_S)
    assert [message.released for message in second.sent() if isinstance(message, Release)] == [2]


def test_blocks_are_held_until_their_deadline() -> None:
    first = producer()
    first.endpoint.put(0, b"a", 0, 0.0)
    assert len(first.sent()) == 1
    first.endpoint.put(0, b"b", 0, HOLD_S / 2)
    assert first.effects() == [Arm(HOLD_S / 2 + HELD_AT_MOST_S)]
    first.endpoint.tick(first.endpoint.next_deadline)
    (message,) = first.sent()
    assert isinstance(message, Data)
    assert message.payloads == [b"b"]


def test_a_full_window_has_no_room_until_a_release() -> None:
    first = producer(window_blocks=2)
    first.put(b"a", b"b")
    output = first.endpoint.outputs[0]
    assert not output.may_continue
    first.release(1)
    assert output.may_continue


def test_a_new_incarnation_of_the_consumer_gets_what_was_not_released() -> None:
    first, second = pair()
    first.put(b"a", b"b", b"c")
    join(first, second)
    first.release(1)
    first.effects()
    first.command(WirePipe(pipe=PIPE, address="there", near=True, peer=2, incarnation=2))
    effects = first.effects()
    assert effects.index(Redirect(PIPE, "there")) < effects.index(next(one for one in effects if isinstance(one, SendData)))
    said = [effect.message for effect in effects if isinstance(effect, TellClient)]
    assert said == [BlocksReplayed(job=2, incarnation=2, pipe=PIPE, blocks=2)]
    third = consumer(incarnation=2)
    for effect in effects:
        if isinstance(effect, SendData):
            third.endpoint.data_received([bytes(frame) for frame in effect.message], 0.0)
    assert third.endpoint.inputs.aligner is not None
    assert third.endpoint.inputs.aligner.beginning == 2
    first.release(3)  # of the old incarnation
    assert first.endpoint.outputs[0].released == 1
    first.release(3, incarnation=2)
    assert first.endpoint.outputs[0].released == 3


def test_a_new_incarnation_of_the_producer_hears_what_its_consumer_has() -> None:
    first, second = pair()
    first.put(b"a", b"b")
    join(first, second)
    assert take(second) == [b"a", b"b"]
    again = JobAlone(outputs=[OutputSpec(PIPE)], is_source=True, client=True, incarnation=2)
    second.command(WirePipe(pipe=PIPE, address="", near=True, peer=1, incarnation=2))
    again.endpoint.begin(1)
    again.put(b"a", b"b", b"c")
    join(again, second)
    assert take(second) == [b"c"]
    assert again.endpoint.outputs[0].had == 2
    second.endpoint.release(0.0, force=True)
    join(again, second)
    assert again.endpoint.outputs[0].released == 3


def test_a_broken_connection_is_wired_again() -> None:
    first, second = pair()
    first.put(b"a")
    first.effects()  # lost
    first.command(RewirePipe(pipe=PIPE))
    join(first, second)
    assert take(second) == [b"a"]


def test_a_new_generation_numbers_from_1_again() -> None:
    first, second = pair()
    first.put(b"a", b"b")
    join(first, second)
    take(second)
    first.command(ResetGeneration(generation=3))
    assert first.endpoint.reset_to == 3
    first.endpoint.switch(3)
    first.put(b"A")
    join(first, second)
    assert take(second) == [b"A"]
    assert second.endpoint.rule.generation == 3
    join(first, second)
    assert first.endpoint.outputs[0].released_before(3)  # the old generation is released as a whole


def test_inputs_are_held_until_a_snapshot_is_stable() -> None:
    first = JobAlone(outputs=[OutputSpec(PIPE)], is_source=True, client=True)
    second = JobAlone(inputs=[InputSpec(PIPE)], client=True, checkpoint=CheckpointSpec("Sum 2", 2, 1000))
    checkpoints = second.endpoint.checkpoints
    assert checkpoints is not None
    join(first, second)
    checkpoints.begin(checkpoints.restoration(0, 1), b"made", 0.0)
    assert take(second) == []
    assert second.said() == [SaveSnapshot(generation=0, block=0)]
    first.put(b"a", b"b")
    join(first, second)
    assert take(second) == [b"a", b"b"]
    assert not checkpoints.due(2, 0.0), "one at a time"
    second.command(CheckpointStored(generation=0, block=0))
    second.effects()
    assert checkpoints.due(2, 0.0)
    checkpoints.take(2, b"state")
    second.endpoint.release(0.0, force=True)
    join(first, second)
    assert first.endpoint.outputs[0].released == 0
    second.command(CheckpointStored(generation=0, block=2))
    effects = second.effects()
    assert SnapshotStable(generation=0, block=2) in [effect.message for effect in effects if isinstance(effect, TellClient)]
    releases = [frames.decode([effect.message]) for effect in effects if isinstance(effect, SendControl)]
    assert [release.released for release in releases if isinstance(release, Release)] == [2]


def test_a_consumer_with_max_queue_never_stops_its_producer() -> None:
    first = producer(outputs=[OutputSpec(PIPE, max_queue=2)])
    for number in range(10):
        assert first.endpoint.outputs[0].may_continue
        first.put(b"%d" % number)
    assert len(first.sent()) == 2
    assert first.endpoint.outputs[0].dropped == 6
    first.release(0, taken=2)
    assert [message.payloads for message in first.sent() if isinstance(message, Data)] == [[b"8"]]


def test_the_value_of_an_async_input_is_handed_to_the_client_when_its_producer_ends() -> None:
    end = JobAlone(optional=[OptionalSpec(PIPE)], outputs=[OutputSpec(2)], is_source=True, client=True)
    end.endpoint.begin(1)
    end.endpoint.data_received([frames.encode_open(Open(PIPE, 1, 0, 0))], 0.0)
    end.endpoint.data_received([frames.encode_data(PIPE, 1, 0, 1, [b"a"], None)], 0.0)
    one = end.endpoint.inputs.optional[PIPE]
    assert one.take() == (b"a", 0)
    end.endpoint.data_received([frames.encode_end(End(PIPE, 1, 0, 1, final=True, more=False))], 0.0)
    end.effects()
    assert end.endpoint.worth_releasing()
    end.endpoint.release(0.0)
    assert [effect for effect in end.effects() if isinstance(effect, RetainGroup)] == [RetainGroup(PIPE, 1, ([b"a"], [0]))]
    assert not one.over
    end.command(ValueStored(pipe=PIPE, number=1))
    assert one.over
    assert [(message.released) for message in end.sent() if isinstance(message, Release)] == [CLOSED]


def test_a_new_incarnation_waits_for_retained_values_but_not_for_ever() -> None:
    end = JobAlone(optional=[OptionalSpec(PIPE, again=True)], outputs=[OutputSpec(2)], is_source=True, client=True, incarnation=2)
    assert end.endpoint.retained.settling
    end.effects()
    assert end.endpoint.next_deadline == REPLAY_S
    end.endpoint.tick(REPLAY_S)
    assert Wake() in [effect for effect in end.effects() if isinstance(effect, Wake)]
    assert not end.endpoint.retained.settling


def test_pressure_is_passed_on_and_answered() -> None:
    end = JobAlone(inputs=[InputSpec(PIPE)], outputs=[OutputSpec(2)])
    opening = [frames.encode_open(Open(PIPE, 1, 0, 0))]
    end.endpoint.data_received(opening, 0.0)
    end.endpoint.begin(1)
    end.endpoint.data_received([frames.encode_data(PIPE, 1, 0, 1, [b"a"], None)], 0.0)
    end.sent()
    end.now = PRESS_S
    end.endpoint.data_received(opening, end.now)
    assert end.endpoint.pressed
    assert end.sent() == [Open(2, 1, 0, 0)]
    end.endpoint.data_received(opening, end.now)
    assert end.sent() == []  # once, until time passes or a block is sent
    end.endpoint.answer_pressed(1)
    assert not end.endpoint.pressed
    assert end.sent() == [Starved(PIPE, 1, 0, 0)]  # as far as the jobs after it are


# -- the end ----------------------------------------------------------------------------------------------------------


def test_the_end_goes_step_by_step() -> None:
    first, second = pair()
    first.put(b"a")
    ending = first.endpoint.ending
    assert ending.stage is EndStage.OPEN
    first.endpoint.end()
    assert ending.stage is EndStage.RELEASING
    join(first, second)
    take(second)
    second.endpoint.release(0.0, force=True)
    for effect in second.effects():
        if isinstance(effect, SendControl):
            first.endpoint.control_received([effect.message], 0.0)
    assert ending.stage is EndStage.REPORTED
    (report,) = (message for message in first.said() if isinstance(message, WorkDone))
    assert report.ends == {PIPE: (0, 1)}
    first.command(RepeatReports())
    assert report in first.said()
    first.command(AcknowledgeEnd())
    assert ending.stage is EndStage.CLOSING
    join(first, second)
    assert second.endpoint.inputs.final
    assert not ending.over
    second.endpoint.end()
    second.command(AcknowledgeEnd())
    assert second.endpoint.ending.over
    join(first, second)
    assert ending.over


def test_a_job_without_a_client_does_not_wait_for_it() -> None:
    end = producer(client=False)
    end.endpoint.end()
    assert end.endpoint.ending.stage is EndStage.CLOSING
    end.release(CLOSED)
    assert end.endpoint.ending.over


def test_a_job_that_returned_none_sends_its_consumers_no_ends() -> None:
    end = producer()
    end.endpoint.end(sends_ends=False)
    effects = end.effects()
    assert not [effect for effect in effects if isinstance(effect, SendData)]
    assert [effect.message.ends for effect in effects if isinstance(effect, TellClient) and isinstance(effect.message, WorkDone)] == [{}]
    end.command(AcknowledgeEnd())
    assert end.endpoint.ending.over


def test_a_job_that_is_stopped_says_nothing_more() -> None:
    end = producer()
    end.put(b"a")
    end.effects()
    end.endpoint.abandon()
    assert end.endpoint.ending.over
    assert end.endpoint.unwanted
    end.endpoint.put(0, b"b", 0, 0.0)
    end.endpoint.flush()
    assert end.sent() == []


def test_a_job_whose_consumers_need_nothing_is_unwanted_and_woken() -> None:
    end = producer()
    end.command(CloseOutput(pipe=PIPE))
    assert end.endpoint.unwanted
    assert end.effects() == [Wake()]


# -- what is impossible -----------------------------------------------------------------------------------------------


def after_end() -> JobAlone:
    end = producer()
    end.endpoint.end()
    end.effects()
    return end


ILLEGAL: dict[str, tuple[Callable[[], JobAlone], Callable[[Endpoint], Any]]] = {
    "put after the end": (after_end, lambda endpoint: endpoint.put(0, b"x", 0, 0.0)),
    "end twice": (after_end, lambda endpoint: endpoint.end()),
    "begin after the end": (after_end, lambda endpoint: endpoint.begin(1)),
    "a generation after the end": (after_end, lambda endpoint: endpoint.switch(1)),
    "the same generation": (producer, lambda endpoint: endpoint.switch(0)),
    "compute block 0": (producer, lambda endpoint: endpoint.begin(0)),
    "begin before the inputs are open": (consumer, lambda endpoint: endpoint.begin(1)),
}


@pytest.mark.parametrize(("make", "call"), ILLEGAL.values(), ids=ILLEGAL)
def test_an_illegal_call_raises_and_changes_nothing(make: Callable[[], JobAlone], call: Callable[[Endpoint], Any]) -> None:
    end = make()
    before = state(end.endpoint)
    with pytest.raises(LocalProtocolError):
        call(end.endpoint)
    assert end.effects() == []
    assert state(end.endpoint) == before


BAD: dict[str, Callable[[Endpoint], Any]] = {
    "garbage as data": lambda endpoint: endpoint.data_received([b"garbage"], 0.0),
    "garbage as control": lambda endpoint: endpoint.control_received([b"garbage"], 0.0),
    "data of another pipe": lambda endpoint: endpoint.data_received([frames.encode_data(9, 1, 0, 1, [b"x"], None)], 0.0),
    "a release as data": lambda endpoint: endpoint.data_received([frames.encode_release(Release(PIPE, 1, 0, 1, 1))], 0.0),
    "data as control": lambda endpoint: endpoint.control_received([frames.encode_data(PIPE, 1, 0, 1, [b"x"], None)], 0.0),
    "a release of another pipe": lambda endpoint: endpoint.control_received([frames.encode_release(Release(9, 1, 0, 1, 1))], 0.0),
    "another pipe is wired": lambda endpoint: endpoint.control_received(
        [frames.encode_command(WirePipe(pipe=9, address="", near=True, peer=1, incarnation=1))], 0.0
    ),
    "another pipe is closed": lambda endpoint: endpoint.control_received([frames.encode_command(CloseOutput(pipe=9))], 0.0),
    "a snapshot of a job without": lambda endpoint: endpoint.control_received(
        [frames.encode_command(CheckpointStored(generation=0, block=1))], 0.0
    ),
    "a value that was not handed over": lambda endpoint: endpoint.control_received(
        [frames.encode_command(ValueStored(pipe=PIPE, number=1))], 0.0
    ),
    "a command for another part of the job": lambda endpoint: endpoint.control_received(
        [frames.encode_command(OpenTap(tap=1, pipe=PIPE, credit=1, payload=True, share=1.0))], 0.0
    ),
}


@pytest.mark.parametrize("call", BAD.values(), ids=BAD)
@pytest.mark.parametrize("make", [producer, consumer])
def test_a_message_that_does_not_belong_here_raises_and_changes_nothing(
    make: Callable[[], JobAlone], call: Callable[[Endpoint], Any]
) -> None:
    end = make()
    before = state(end.endpoint)
    with pytest.raises(RemoteProtocolError):
        call(end.endpoint)
    assert end.effects() == []
    assert state(end.endpoint) == before


def state(endpoint: Endpoint) -> Any:
    """Return what a caller can see of an endpoint."""
    return (
        endpoint.begun,
        endpoint.finishing,
        endpoint.ending.stage,
        endpoint.rule.generation,
        endpoint.rule.done,
        endpoint.reset_to,
        endpoint.counter.counts(),
        [(output.last, output.released, output.ended, output.closed, output.queue) for output in endpoint.outputs],
    )


# -- chains that lose messages and incarnations -----------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_every_block_reaches_the_end_of_a_chain_once(first: int) -> None:
    for seed in range(first, first + 30):
        run_chain(seed)


def nothing_is_sent_again(self: Output, incarnation: int, *, near: bool = True) -> int:
    self.consumer = incarnation
    self.say_open()
    return 0


def counts_duplicates(self: Receiver, incarnation: int, generation: int, first: int, count: int) -> int:
    self.high = max(self.high, first + count - 1)
    return 0


BROKEN: dict[str, tuple[type, str, Any]] = {
    "released before the consumers have": (ReleaseRule, "finished_upto", lambda self: self.done),
    "nothing is sent again": (Output, "wire", nothing_is_sent_again),
    "duplicates count": (Receiver, "accept", counts_duplicates),
    "the inputs are never closed": (Inputs, "close", lambda self: None),
    "releases are not passed on": (Endpoint, "pass_releases", lambda self, force=True: False),
    "an acknowledgement is not heard": (JobEnd, "acknowledge", lambda self: None),
}


@pytest.mark.parametrize(("where", "name", "broken"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_caught(where: type, name: str, broken: Any) -> None:
    with mock.patch.object(where, name, broken), mock.patch("tests.protocol.endpoint_chain.MOST_STEPS", 3000):
        assert_caught(run_chain, st.integers(0, 10_000))


def ended_and_reset(*, late: bool) -> list[Message]:
    """Return what a source sends that has ended when its part of the network begins generation 1, or learns it before (not ``late``)."""
    source = producer()
    source.put(b"a", b"b")
    source.sent()
    if late:
        source.endpoint.end()
        source.sent()
    source.command(ResetGeneration(generation=1))
    if not late:
        source.endpoint.end()
    return source.sent()


@pytest.mark.parametrize("late", [False, True])
def test_a_source_without_further_blocks_enters_a_new_generation(*, late: bool) -> None:
    """Its consumers wait for one, and release nothing that it waits for."""
    sent = ended_and_reset(late=late)
    assert End(PIPE, 1, 1, 0, final=False, more=False) in sent


@pytest.mark.parametrize("late", [False, True])
def test_a_source_that_ends_in_the_old_generation_is_caught(*, late: bool) -> None:
    with mock.patch.object(Endpoint, "_enter_ended", return_value=None), pytest.raises(AssertionError):
        test_a_source_without_further_blocks_enters_a_new_generation(late=late)


def sent_and_then(*, late: bool) -> tuple[list[Message], list[Message], list[Any], list[Message]]:
    """As `ended_and_reset`, with CHECKPOINT; return what is sent until all is released, then said to the client, then sent."""
    source = producer(checkpoint=CheckpointSpec("Count 1", 1, 50))
    checkpoints = source.endpoint.checkpoints
    assert checkpoints is not None
    checkpoints.begin(checkpoints.restoration(0, 1), b"", 0.0)
    source.put(b"a", b"b")
    before = source.sent()
    if late:
        source.endpoint.end()
        before += source.sent()
    source.command(ResetGeneration(generation=1))
    if not late:
        source.endpoint.end()
    new = source.sent()
    source.release(2)
    said = source.said()
    source.command(AcknowledgeEnd())
    return before, new, said, source.sent()


@pytest.mark.parametrize("late", [False, True])
def test_a_source_with_snapshots_ends_in_a_new_generation_when_no_incarnation_can_follow(*, late: bool) -> None:
    """A new incarnation would send blocks there, whose partners its consumers would have released."""
    _, new, said, after = sent_and_then(late=late)
    assert not [message for message in new if isinstance(message, End)]
    assert Open(PIPE, 1, 1, 0) in new  # it is there, so nothing waits for it in the old one
    assert [message.ends for message in said if isinstance(message, WorkDone)] == [{PIPE: (1, 0)}]
    ends = [message for message in after if isinstance(message, End)]
    assert {(end.generation, end.last) for end in ends} == {(1, 0)}
    assert ends[-1].final


@pytest.mark.parametrize("late", [False, True])
def test_an_end_that_a_new_incarnation_would_take_back_is_caught(*, late: bool) -> None:
    def enters(self: Endpoint) -> None:
        if self.reset_to > self.rule.generation:
            self._switch(self.reset_to)

    with mock.patch.object(Endpoint, "_enter_ended", enters), pytest.raises(AssertionError):
        test_a_source_with_snapshots_ends_in_a_new_generation_when_no_incarnation_can_follow(late=late)


@pytest.mark.parametrize(
    ("size", "count", "state", "expected"),
    [(10, 4, 500, 50), (5, 4, 0, 50), (100, 4, 500, 5), (100, 1, 500, 5), (100, 1, 0, 2), (1000, 1, 500, 1), (1000, 1, 0, 1)],
)
def test_large_blocks_ask_for_a_snapshot_when_half_the_window_is_full(size: int, count: int, state: int, expected: int) -> None:
    """Counted in blocks alone, the source would wait with a full window, and be released only because it complains.

    With a small state, a quarter is enough: the rest flows while the snapshot is stored.
    """
    spec = CheckpointSpec("Sum 2", 1000, 50, pressed_bytes=500)
    job = JobAlone(inputs=[InputSpec(PIPE)], client=True, checkpoint=spec)
    checkpoints = job.endpoint.checkpoints
    assert checkpoints is not None
    checkpoints.begin(checkpoints.restoration(0, 1), bytes(state), 0.0)
    job.endpoint.data_received([frames.encode_open(Open(PIPE, 1, 0, 0))], 0.0)
    job.endpoint.data_received([frames.encode_data(PIPE, 1, 0, 1, [bytes(size)] * count, None)], 0.0)
    assert checkpoints.points.pressed_after == expected
