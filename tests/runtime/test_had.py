"""A new incarnation of a producer continues the numbers after what its consumer has, in whatever order it learns of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest

from fission.protocol import frames
from fission.protocol.endpoint_spec import OutputSpec
from fission.protocol.frames import Buffer
from fission.protocol.inputs import InputSpec
from fission.protocol.link_messages import Open, Release
from tests.one_pipe import Consumer, Producer

PIPE, OLD, NEW = 1, "the old incarnation", "the new one"


class Answers:
    """The links of a consumer: its answers arrive where its pipe leads at that moment."""

    def __init__(self) -> None:
        self.address = OLD
        self.arrived: dict[str, list[Release]] = {OLD: [], NEW: []}

    def redirect(self, pipe: int, address: str) -> None:
        self.address = address

    def answer(self, pipe: int, frame: Buffer) -> None:
        message = frames.decode([frame])
        assert isinstance(message, Release)
        self.arrived[self.address].append(message)

    def send(self, pipe: int, message: Sequence[Buffer]) -> None:
        pass

    def wake(self) -> None:
        pass


def had_by(steps: Sequence[str], *, done: int, had: int) -> tuple[Producer, list[Release]]:
    """Return what the new incarnation learns of a consumer that has ``had`` blocks, ``done`` of them released, after these steps."""
    links = Answers()
    inputs = Consumer(links, [InputSpec(PIPE)])
    inputs.feed([frames.encode_open(Open(PIPE, 1, 0, 0))])
    aligner = inputs.aligner
    assert aligner is not None
    aligner.begin(aligner.beginning or 1)
    if had:
        inputs.feed([frames.encode_data(PIPE, 1, 0, 1, [b"x"] * had, None)])
    inputs.take()
    inputs.rule.done = done
    do = {
        "wire": lambda: inputs.wire(PIPE, NEW, 2),
        "open": lambda: inputs.feed([frames.encode_open(Open(PIPE, 2, 0, 0))]),
        "release": lambda: inputs.release(done, 0, force=True),
        "again": lambda: inputs.feed([frames.encode_open(Open(PIPE, 2, 0, 0))]),
    }
    for step in steps:
        do[step]()
    output = Producer(links, OutputSpec(PIPE), incarnation=2)
    output.open()
    for message in links.arrived[NEW]:
        output.on_release(message)
    return output, links.arrived[NEW]


ORDERS = sorted(set(permutations(["wire", "open", "release", "again"])))


@pytest.mark.parametrize("steps", [order for order in ORDERS if order.index("open") < order.index("again")], ids="-".join)
@pytest.mark.parametrize(("done", "had"), [(3, 10), (0, 10), (10, 10), (0, 0)])
def test_the_new_incarnation_learns_how_far_its_consumer_is(steps: Sequence[str], done: int, had: int) -> None:
    output, _ = had_by(steps, done=done, had=had)
    assert output.machine.had == had
    output.continue_after(output.machine.had, 0)
    assert output.machine.sent == had


def test_the_first_release_does_not_tell() -> None:
    """The broken variant: fewer blocks are released than received, so new blocks would reuse the numbers of received ones."""
    _, heard = had_by(["wire", "release", "open"], done=3, had=10)
    assert heard[0].taken == 3
    assert not heard[0].had


def test_data_of_the_old_incarnation_does_not_arrive_after_the_answer() -> None:
    inputs = Consumer(Answers(), [InputSpec(PIPE)])
    inputs.feed([frames.encode_open(Open(PIPE, 1, 0, 0))])
    assert inputs.aligner is not None
    inputs.aligner.begin(1)
    inputs.feed([frames.encode_data(PIPE, 1, 0, 1, [b"x"] * 10, None)])
    inputs.wire(PIPE, NEW, 2)
    inputs.feed([frames.encode_data(PIPE, 1, 0, 11, [b"late"], None)])
    inputs.feed([frames.encode_open(Open(PIPE, 2, 0, 0))])
    assert inputs.aligner.receiver(PIPE).high == 10
