"""What the ASYNC inputs of a job store, across its lives: waited for when one begins, and handed to the client when no producer has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fission.protocol.messages.job_to_client import JobToClient, RetainValue
from fission.protocol.optional import OptionalInput
from fission.runtime.specs import packed_group

#: Seconds that a new life waits for what the producers of its ASYNC inputs have kept for it. Arbitrary: far above what they need to send
#: it, and little in a failover in which they died too.
REPLAY_S = 0.5


class OptionalInputs:
    """The stored values of one life of a job."""

    def __init__(self, inputs: Mapping[int, OptionalInput], say: Callable[[JobToClient, bytes], None] | None) -> None:
        """Args: inputs: the ASYNC ones, by pipe. say: sends a word to the client; None: there is none, and nothing outlives this life."""
        self._inputs = inputs
        self._say = say
        self._asked: dict[int, tuple[int, Any]] = {}  # by pipe: (number, group) that the client was asked to keep
        self._remembered: dict[int, tuple[bytes, Callable[[], None]]] = {}  # by output pipe
        self._until = 0.0  # the moment up to which values of earlier lives are waited for; 0: not any more

    def start(self, now: float) -> float:
        """This life starts; return the moment at which `tick` is to be called, infinity if it need not."""
        if not self._arrived:
            self._until = now + REPLAY_S
        return self._until or float("inf")

    @property
    def settling(self) -> bool:
        """Whether values that an earlier life was given have not come again: `run` would get the default instead.

        It is not waited for longer than `REPLAY_S`: their producer may be gone, too.
        """
        if self._until and self._arrived:
            self._until = 0.0
        return bool(self._until)

    @property
    def _arrived(self) -> bool:
        return all(one.settled for one in self._inputs.values())

    def tick(self, now: float) -> bool:
        """Whether the waiting is given up now."""
        if not self._until or now < self._until:
            return False
        self._until = 0.0
        return True

    @property
    def due(self) -> float:
        """The moment of the next `tick`, infinity if there is none."""
        return self._until or float("inf")

    def hand_over(self) -> None:
        """Any thread: what an input stores, and its producer can keep no longer, goes to the client, for a new life of this job."""
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
        """Any thread: have the client keep something for new incarnations of this job, which find it in `JobBundle.kept`.

        Args:
            pipe: an output, so that it has the name of no ASYNC input.
            content: what is kept.
            then: called by the control thread, or at once if there is no client, when it is kept; perhaps more than once.
        """
        if self._say is None:
            then()
            return
        self._remembered[pipe] = content, then
        self._say(RetainValue(pipe=pipe, number=1), content)

    def say_again(self) -> None:
        """Control thread: the client was away, and may have missed what it was asked to keep."""
        for pipe, (content, _) in list(self._remembered.items()):
            if self._say is not None:
                self._say(RetainValue(pipe=pipe, number=1), content)
        for pipe, (number, asked) in list(self._asked.items()):
            group = self._inputs[pipe].to_keep
            if self._say is not None and group is not None and group is asked:
                self._say(RetainValue(pipe=pipe, number=number), packed_group(group))

    def on_kept(self, pipe: int, number: int) -> None:
        """Control thread: the client keeps what it was asked to. Raises KeyError if it was not."""
        if pipe in self._remembered:
            self._remembered[pipe][1]()
            return
        asked, group = self._asked[pipe]
        if number == asked:
            self._inputs[pipe].kept(group)
