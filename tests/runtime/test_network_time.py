"""`self.network_time()` of several threads of a job."""

from __future__ import annotations

import threading
import time
from math import inf
from types import SimpleNamespace
from typing import Any

from fission.core.network_time import NetworkTime
from fission.protocol.messages.client_to_job import ClientClock
from fission.protocol.messages.job_to_client import AskClock
from fission.runtime.network_time import NetworkTimeSource


class Shell:
    """A job's shell whose client answers when the test says so."""

    waits = True

    def __init__(self) -> None:
        self.endpoint = SimpleNamespace(spec=SimpleNamespace(client=True))
        self.commands: dict[type, Any] = {}
        self.asked = threading.Event()
        self.said: list[Any] = []

    def say(self, message: Any) -> None:
        self.said.append(message)
        self.asked.set()


def test_all_threads_wait_for_the_first_answer() -> None:
    shell: Any = Shell()
    source = NetworkTimeSource(shell)
    assert source.read(asks=False).error_s == inf
    assert not shell.said
    found: list[NetworkTime] = []
    threads = [threading.Thread(target=lambda: found.append(source.read(asks=True))) for _ in range(4)]
    threads[0].start()
    assert shell.asked.wait(10)
    for thread in threads[1:]:
        thread.start()
    shell.commands[ClientClock](ClientClock(known=True, offset_s=5.0, error_s=0.001, drift=0.0, wall_s=1000.0))
    for thread in threads:
        thread.join(10)
    assert shell.said == [AskClock()]
    assert len(found) == 4
    assert all(one.error_s < 0.01 for one in found)


def test_a_client_that_does_not_answer_is_waited_for_once() -> None:
    shell: Any = Shell()
    source = NetworkTimeSource(shell)
    assert source.read(asks=True).error_s == inf
    began = time.monotonic()
    for _ in range(5):
        assert source.read(asks=True).error_s == inf
    assert time.monotonic() - began < 0.5
