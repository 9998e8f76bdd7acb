"""The retained values of a job's ASYNC inputs, across its incarnations.

A new incarnation waits for them when it begins. A value that no producer keeps is handed to the
client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fission.protocol.messages.job_to_client import JobToClient, RetainValue
from fission.protocol.optional import OptionalInput
from fission.runtime.specs import packed_group

#: Seconds that a new incarnation waits for the values that the producers of its ASYNC inputs keep for it. Arbitrary: far longer
#: than sending them takes, and short compared with a failover in which the producers died too.
REPLAY_S = 0.5


class OptionalInputs:
    """The retained values of one incarnation of a job."""

    def __init__(self, inputs: Mapping[int, OptionalInput], say: Callable[[JobToClient, bytes], None] | None) -> None:
        """Prepare; `start` begins the wait.

        Args:
            inputs: ASYNC inputs, by pipe.
            say: function that sends a message to the client; None without a client, in which case
                nothing outlives this incarnation.
        """
        self._inputs = inputs
        self._say = say
        self._asked: dict[int, tuple[int, Any]] = {}  # by pipe: the (number, group) that the client was asked to retain
        self._remembered: dict[int, tuple[bytes, Callable[[], None]]] = {}  # by output pipe
        self._until = 0.0  # end of the wait for values of earlier incarnations; 0 when the wait is over

    def start(self, now: float) -> float:
        """Start the incarnation; return the moment of the next `tick`, infinity if none is due."""
        if not self._arrived:
            self._until = now + REPLAY_S
        return self._until or float("inf")

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
        """The moment of the next `tick`, infinity if there is none."""
        return self._until or float("inf")

    def hand_over(self) -> None:
        """Any thread: hand retained values that their producer can no longer keep to the client.

        The client keeps them for a new incarnation of this job.
        """
        for pipe, one in self._inputs.items():
            group = one.to_keep
            number, asked = self._asked.get(pipe, (0, None))
            if group is None or group is asked:
                continue
            self._asked[pipe] = number + 1, group
            if self._say is None:
                one.kept(group)
            else:
                self._say(RetainValue(pipe=pipe, number=number + 1), packed_group(group))

    def remember(self, pipe: int, content: bytes, then: Callable[[], None]) -> None:
        """Any thread: have the client retain data for new incarnations of this job.

        They find it in `JobBundle.kept`.

        Args:
            pipe: id of an output, so that it differs from the ids of all ASYNC inputs.
            content: data to retain.
            then: function that the control thread calls when the data is retained, perhaps more
                than once; called at once if there is no client.
        """
        if self._say is None:
            then()
            return
        self._remembered[pipe] = content, then
        self._say(RetainValue(pipe=pipe, number=1), content)

    def say_again(self) -> None:
        """Control thread: repeat all requests; the client was away and may have missed some."""
        for pipe, (content, _) in list(self._remembered.items()):
            if self._say is not None:
                self._say(RetainValue(pipe=pipe, number=1), content)
        for pipe, (number, asked) in list(self._asked.items()):
            group = self._inputs[pipe].to_keep
            if self._say is not None and group is not None and group is asked:
                self._say(RetainValue(pipe=pipe, number=number), packed_group(group))

    def on_kept(self, pipe: int, number: int) -> None:
        """Control thread: record that the client retains a value.

        Raises:
            KeyError: the client was not asked to.
        """
        if pipe in self._remembered:
            self._remembered[pipe][1]()
            return
        asked, group = self._asked[pipe]
        if number == asked:
            self._inputs[pipe].kept(group)
