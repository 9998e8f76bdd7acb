"""The retained values of a job's ASYNC inputs, across its incarnations.

A new incarnation waits for them when it begins. A value that no producer keeps is handed to the
client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fission.errors import RemoteProtocolError
from fission.protocol.endpoint_effects import Effect, Retained, RetainGroup, TellClient
from fission.protocol.messages.job_to_client import RetainValue
from fission.protocol.optional import OptionalInput

#: Seconds that a new incarnation waits for the values that the producers of its ASYNC inputs keep
#: for it. Arbitrary: far longer than sending them takes, and short compared with a failover in
#: which the producers died too.
REPLAY_S = 0.5


class RetainedValues:
    """The retained values of one incarnation of a job.

    Attributes:
        effects: see `fission.protocol.endpoint_effects`.
    """

    def __init__(self, inputs: Mapping[int, OptionalInput], *, client: bool, effects: list[Effect] | None = None) -> None:
        """Prepare; `start` begins the wait.

        Args:
            inputs: ASYNC inputs, by pipe.
            client: whether there is a client; without one, nothing outlives this incarnation.
            effects: list that effects are added to; a list of its own by default.
        """
        self.effects: list[Effect] = [] if effects is None else effects
        self._inputs = inputs
        self._client = client
        self._asked: dict[int, tuple[int, Any]] = {}  # by pipe: the (number, group) that the client was asked to retain
        self._remembered: dict[int, bytes] = {}  # by output pipe
        self._until = 0.0  # end of the wait for values of earlier incarnations; 0 when the wait is over

    def start(self, now: float) -> float:
        """Start the incarnation; return the time of the next `tick`, infinity if none is due."""
        if not self._arrived:
            self._until = now + REPLAY_S
        return self.due

    @property
    def settling(self) -> bool:
        """Whether values that an earlier incarnation received have not been replayed yet.

        Without them, `run` would get the default instead. The wait is limited to `REPLAY_S`,
        because the producer may be gone too.
        """
        if self._until and self._arrived:
            self._until = 0.0
        return bool(self._until)

    @property
    def _arrived(self) -> bool:
        return all(one.settled for one in self._inputs.values())

    def tick(self, now: float) -> bool:
        """Return whether the wait is given up now."""
        if not self._until or now < self._until:
            return False
        self._until = 0.0
        return True

    @property
    def due(self) -> float:
        """The time of the next `tick`, infinity if there is none."""
        return self._until or float("inf")

    @property
    def unasked(self) -> bool:
        """Whether `hand_over` has something to hand over."""
        return any(one.to_keep is not None and one.to_keep is not self._asked_for(pipe) for pipe, one in self._inputs.items())

    def hand_over(self) -> None:
        """Hand retained values that their producer can no longer keep to the client.

        The client keeps them for a new incarnation of this job.
        """
        for pipe, one in self._inputs.items():
            group = one.to_keep
            if group is None or group is self._asked_for(pipe):
                continue
            number = self._asked.get(pipe, (0, None))[0] + 1
            self._asked[pipe] = number, group
            if self._client:
                self.effects.append(RetainGroup(pipe, number, group))
            else:
                one.kept(group)

    def remember(self, pipe: int, content: bytes) -> None:
        """Have the client retain data for new incarnations of this job, in `JobBundle.kept`.

        A `Retained` effect follows when it does; at once if there is no client.

        Args:
            pipe: id of an output, so that it differs from the ids of all ASYNC inputs.
            content: data to retain.
        """
        if not self._client:
            self.effects.append(Retained(pipe))
            return
        self._remembered[pipe] = content
        self.effects.append(TellClient(RetainValue(pipe=pipe, number=1), content))

    def repeat_requests(self) -> None:
        """Repeat all requests; the client was away and may have missed some."""
        for pipe, content in self._remembered.items():
            self.effects.append(TellClient(RetainValue(pipe=pipe, number=1), content))
        for pipe, (number, asked) in self._asked.items():
            group = self._inputs[pipe].to_keep
            if self._client and group is not None and group is asked:
                self.effects.append(RetainGroup(pipe, number, group))

    def on_kept(self, pipe: int, number: int) -> None:
        """Record that the client retains a value.

        Raises:
            RemoteProtocolError: the client was not asked to.
        """
        if pipe in self._remembered:
            self.effects.append(Retained(pipe))
            return
        if pipe not in self._asked:
            raise RemoteProtocolError(f"the client was not asked to retain a value of pipe {pipe}")
        asked, group = self._asked[pipe]
        if number == asked:
            self._inputs[pipe].kept(group)

    def _asked_for(self, pipe: int) -> Any:
        return self._asked.get(pipe, (0, None))[1]
