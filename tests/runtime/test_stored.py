"""What a job asks the client to retain for its ASYNC inputs."""

from __future__ import annotations

from fission.protocol.link_messages import Data, End, Open
from fission.protocol.messages.job_to_client import JobToClient, RetainValue
from fission.protocol.optional import OptionalInput, OptionalSpec
from fission.runtime.optional_inputs import OptionalInputs


def test_a_client_that_was_away_is_asked_again_until_it_keeps() -> None:
    said: list[JobToClient] = []
    one = OptionalInput(OptionalSpec(4))
    stored = OptionalInputs({4: one}, lambda message, payload: said.append(message))
    one.open(Open(4, 1, 0, 0))
    one.data(Data(4, 1, 0, 1, [b"a", b"b"]))
    one.take()
    stored.say_again()
    assert said == []  # nothing was asked for
    one.take()
    one.end(End(4, 1, 0, 2))
    stored.hand_over()
    stored.hand_over()
    assert said == [RetainValue(pipe=4, number=1)]
    stored.say_again()
    assert said == [RetainValue(pipe=4, number=1)] * 2
    stored.on_kept(4, 1)
    stored.say_again()
    assert len(said) == 2


def test_a_retained_value_is_reported_until_it_is_stored() -> None:
    said: list[tuple[JobToClient, bytes]] = []
    done: list[str] = []
    stored = OptionalInputs({}, lambda *message: said.append(message))
    stored.remember(7, b"x", lambda: done.append("kept"))
    assert (said, done) == ([(RetainValue(pipe=7, number=1), b"x")], [])
    stored.say_again()
    assert said[1:] == said[:1]
    stored.on_kept(7, 1)
    assert done == ["kept"]
    OptionalInputs({}, None).remember(7, b"x", lambda: done.append("at once"))
    assert done == ["kept", "at once"]
