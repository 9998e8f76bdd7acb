"""A viewer of a pipe gets its last blocks, however late they come after the end of the job."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

from fission.client.serve import taps
from fission.protocol.messages.viewer_to_client import TapPipes


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
            tap.end_when_silent()
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
