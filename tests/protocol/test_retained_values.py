"""What a job asks the client to retain of its ASYNC inputs."""

from __future__ import annotations

import pytest

from fission.errors import RemoteProtocolError
from fission.protocol.endpoint_effects import Effect, Retained, RetainGroup, TellClient
from fission.protocol.link_messages import Data, End, Open
from fission.protocol.messages.job_to_client import RetainValue
from fission.protocol.optional import OptionalInput, OptionalSpec
from fission.protocol.retained_values import RetainedValues


def made(values: RetainedValues) -> list[Effect]:
    """Return the effects since the last call."""
    found = values.effects[:]
    values.effects.clear()
    return found


def test_a_client_that_was_away_is_asked_again_until_it_retains() -> None:
    one = OptionalInput(OptionalSpec(4))
    values = RetainedValues({4: one}, client=True)
    one.open(Open(4, 1, 0, 0))
    one.data(Data(4, 1, 0, 1, [b"a", b"b"]))
    one.take()
    values.repeat_requests()
    assert made(values) == []  # nothing was asked for
    assert not values.unasked
    one.take()
    one.end(End(4, 1, 0, 2))
    assert values.unasked
    values.hand_over()
    assert not values.unasked
    values.hand_over()
    request = RetainGroup(4, 1, ([b"b"], [0]))
    assert made(values) == [request]
    values.repeat_requests()
    assert made(values) == [request]
    values.on_kept(4, 1)
    values.repeat_requests()
    assert made(values) == []


def test_what_is_remembered_is_said_until_it_is_retained() -> None:
    values = RetainedValues({}, client=True)
    request = TellClient(RetainValue(pipe=7, number=1), b"x")
    values.remember(7, b"x")
    assert made(values) == [request]
    values.repeat_requests()
    assert made(values) == [request]
    values.on_kept(7, 1)
    assert made(values) == [Retained(7)]


def test_without_a_client_nothing_is_asked_for() -> None:
    one = OptionalInput(OptionalSpec(4))
    values = RetainedValues({4: one}, client=False)
    values.remember(7, b"x")
    assert made(values) == [Retained(7)]
    one.open(Open(4, 1, 0, 0))
    one.data(Data(4, 1, 0, 1, [b"a"]))
    one.take()
    one.end(End(4, 1, 0, 1))
    values.hand_over()
    assert made(values) == []
    assert one.over


def test_a_value_that_was_not_handed_over_is_not_retained() -> None:
    with pytest.raises(RemoteProtocolError, match="was not asked to retain a value of pipe 4"):
        RetainedValues({}, client=True).on_kept(4, 1)
