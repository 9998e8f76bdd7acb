"""`self.network_time()` of a job: asks the client to report its clock from the first call on."""

from __future__ import annotations

import threading
import time
from math import inf

from fission.core.network_time import NetworkTime
from fission.protocol.messages.client_to_job import ClientClock
from fission.protocol.messages.job_to_client import AskClock
from fission.protocol.network_clock import NetworkClock
from fission.runtime.endpoint_shell import EndpointShell

#: Seconds without a report after which the client is asked again: it may be a new one. Arbitrary: ten pulses.
ASK_AGAIN_S = 1.0
#: Most seconds for which the first call waits for the client. Arbitrary: far above a round trip.
FIRST_WAIT_S = 1.0


class NetworkTimeSource:
    """The network's time at one job."""

    def __init__(self, shell: EndpointShell) -> None:
        """Prepare; nothing is asked before the first call.

        Args:
            shell: shell of the job's endpoint.
        """
        self._shell = shell
        self._clock = NetworkClock()
        self._answered = threading.Event()
        self._asked_at = -inf
        self._waits_until = inf  # calls before this time wait for the first answer; infinity: it was not asked for
        shell.commands[ClientClock] = self._take

    def _take(self, message: ClientClock) -> None:
        self._clock.reported(message, time.monotonic())
        self._answered.set()

    def read(self, *, asks: bool) -> NetworkTime:
        """Return the client's time of day. The first call waits for an answer; calls of other threads meanwhile, too.

        Args:
            asks: whether the client can answer: it knows of this process.
        """
        if not self._shell.endpoint.spec.client or self._clock.local:
            return NetworkTime(time.time(), 0.0)
        now = time.monotonic()
        if asks and self._clock.age_s(now) > ASK_AGAIN_S and now - self._asked_at > ASK_AGAIN_S:
            self._waits_until = min(self._waits_until, now + FIRST_WAIT_S)  # first: another thread may be between both lines
            self._asked_at = now
            self._shell.say(AskClock())
        if asks and now < self._waits_until and not self._answered.is_set() and self._shell.waits:
            self._answered.wait(self._waits_until - now)
        return NetworkTime(*self._clock.read(time.monotonic(), time.time()))
