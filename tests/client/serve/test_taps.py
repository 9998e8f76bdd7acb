"""A viewer of a pipe gets its last blocks, however late they come after the end of the job."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest

from fission.client.serve import taps
from fission.client.serve.control_server import Connection
from fission.protocol.messages.client_to_job import CloseTap, ExtendTap, OpenTap
from fission.protocol.messages.viewer_to_client import TapPipes
from fission.protocol.supervision_messages import JobState


class Gathers:
    """In place of the sender of a tap."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def put(self, tap: Any, incarnation: int, payload: bytes) -> None:
        self.payloads.append(payload)


def test_a_tap_ends_after_the_last_blocks_and_not_before() -> None:
    """Whenever the silence is judged: what has come since it was last looked at puts the end off."""

    async def main() -> list[bytes]:
        run: Any = mock.Mock()
        tap = taps._Tap(1, 2, 3, TapPipes(pipes=(3,), credit=1), run)
        sender: Any = Gathers()
        tap.sender = sender
        loop = asyncio.get_running_loop()
        with mock.patch.object(loop, "call_later") as later:
            tap.end_when_silent(taps.LAST_S)
            for number in range(3):
                tap.gather(b"%d" % number)
                _, judge, *heard = later.call_args.args
                judge(*heard)
                assert not tap.over
            _, judge, *heard = later.call_args.args
            judge(*heard)
        assert tap.over
        return list(sender.payloads)

    assert asyncio.run(main()) == [b"0", b"1", b"2", b""]


@pytest.mark.parametrize(("outcome", "silent_s"), [("finished", taps.DELIVERED_S), ("stopped", taps.DELIVERED_S), ("killed", taps.LAST_S)])
def test_of_a_job_that_says_what_is_its_last_copy_the_copies_are_waited_for(outcome: str, silent_s: float) -> None:
    """A busy machine may deliver them long after the end of the process."""

    async def main() -> None:
        run: Any = mock.Mock(receivers={}, jobs={2: mock.Mock(outcome=outcome)})
        server = taps.Taps(mock.Mock(), run, mock.Mock())
        server._taps[1] = taps._Tap(1, 2, 3, TapPipes(pipes=(3,), credit=1), run)
        later = Later()
        with mock.patch.object(asyncio.get_running_loop(), "call_later", later):
            server.ended(2)
        assert [seconds for seconds, _, _ in later.due] == [silent_s]

    asyncio.run(main())


class Later:
    """In place of the timers of a loop: a test calls what is due."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Any, tuple[Any, ...]]] = []

    def __call__(self, seconds: float, act: Any, *arguments: Any) -> mock.Mock:
        entry = (seconds, act, arguments)
        self.due.append(entry)
        handle = mock.Mock()
        handle.cancel = lambda: self.due.remove(entry)
        return handle

    def pass_on(self) -> float:
        seconds, act, arguments = self.due.pop(0)
        act(*arguments)
        return seconds


def given(run: Any) -> list[int]:
    """Return the credit that a job was given again."""
    return [call.args[1].credit for call in run.command.call_args_list if isinstance(call.args[1], ExtendTap)]


def test_credit_is_given_again_after_a_time_and_not_at_once() -> None:
    """A viewer that wants at most so many bytes in a time never gets more, however fast it reads."""

    async def main() -> None:
        run: Any = mock.Mock()
        tap = taps._Tap(1, 2, 3, TapPipes(pipes=(3,), credit=1000, every_s=0.25), run)
        later = Later()
        with mock.patch.object(asyncio.get_running_loop(), "call_later", later):
            tap.begin()
            tap.sent(1, 600)
            tap.sent(1, 400)
            assert given(run) == []
            assert later.pass_on() == 0.25
            assert given(run) == [1000]
            tap.sent(1, 20_000)  # a message much larger than all credit takes longer
            while later.due:
                assert later.pass_on() == 0.25
            assert given(run) == [1000, taps.LARGER * 1000, taps.LARGER * 1000, 4000]

    asyncio.run(main())


def test_a_new_incarnation_is_not_given_the_credit_of_the_old_one() -> None:
    async def main() -> None:
        run: Any = mock.Mock()
        tap = taps._Tap(1, 2, 3, TapPipes(pipes=(3,), credit=1000, every_s=0.25), run)
        later = Later()
        with mock.patch.object(asyncio.get_running_loop(), "call_later", later):
            tap.begin()
            tap.sent(1, 600)
            tap.begin()
            tap.sent(1, 400)
            later.pass_on()
            assert given(run) == []

    asyncio.run(main())


def test_the_tap_of_a_viewer_who_leaves_is_closed_in_the_job_and_nothing_more_is_sent() -> None:
    async def main() -> None:
        run: Any = mock.Mock()
        run.receivers = {}
        run.state.return_value = JobState.RUNNING
        network: Any = mock.Mock(pipes={3: "pipe"})
        network.producer.return_value = mock.Mock(_fission_id=2)
        server = taps.Taps(network, run, mock.Mock())
        connection = Connection(mock.Mock())
        later = Later()
        with mock.patch.object(asyncio.get_running_loop(), "call_later", later):
            await server._tap(TapPipes(pipes=(3,), credit=1000, every_s=0.25, largest=5000), connection)
            (opened,) = (call.args[1] for call in run.command.call_args_list)
            assert opened == OpenTap(tap=1, pipe=3, credit=1000, payload=True, share=taps.SHARE, largest=5000)
            server._taps[1].sent(1, 100)
            for close in connection.on_close:
                close()
            assert not later.due
        assert run.command.call_args.args == (2, CloseTap(tap=1))
        assert not server._taps

    asyncio.run(main())
