"""How messages go from job to job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from fission.ports.names import PipeId, Seconds
from fission.protocol.frames import Buffer


class Links(Protocol):
    """One job's ends of all its pipes.

    Guarantees: messages of one pipe arrive whole and in the order in which they were sent; sending never blocks (what bounds
    the traffic is the window) and works before the other end exists. `receive` belongs to the job's main thread, `control` to
    its control thread; `send` may be called by one thread at a time for each pipe, everything else by any thread.
    """

    def send(self, pipe: PipeId, frames: Sequence[Buffer]) -> None:
        """Send a data message to the consumer of an output pipe."""
        ...

    def receive(self, *, wait: bool = True) -> list[Buffer] | None:
        """Return the next data message of any input pipe; None if none is there (``wait=False``) or `wake` was called."""
        ...

    def wake(self) -> None:
        """Make a `receive` that waits, or the next one, return None."""
        ...

    def answer(self, pipe: PipeId, frame: Buffer) -> None:
        """Send a release to the producer of an input pipe."""
        ...

    def tell(self, frame: Buffer) -> None:
        """Send a word to the client, if there is one to tell."""
        ...

    def control(self, timeout: Seconds | None) -> list[Buffer] | None:
        """Return the next release or command for this job; None after ``timeout`` seconds (None: no limit) or `wake_control`.

        Where connections can break, the links themselves give the commands ``rewire`` (one did) and ``again`` (the one to the client did).
        May return None early.
        """
        ...

    def wake_control(self) -> None:
        """Make a `control` that waits, or the next one, return None."""
        ...

    def redirect(self, pipe: PipeId, address: str) -> None:
        """From now on an output's consumer, or an input's producer, is reached there; empty: at the same address, by a new connection."""
        ...

    def reach_client(self, address: str) -> None:
        """From now on the client is reached there; when it is, `control` says so with the command "again"."""
        ...

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where other machines reach this end: ``data`` and ``control``; empty if they cannot."""
        ...

    def close(self, linger: Seconds) -> None:
        """Give everything back; what was sent still goes out for up to ``linger`` seconds. Calling it twice is right."""
        ...
