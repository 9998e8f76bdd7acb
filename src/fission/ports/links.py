"""How messages travel from job to job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from fission.ports.names import PipeId, Seconds
from fission.protocol.frames import Buffer


class Links(Protocol):
    """One job's ends of all its pipes.

    Guarantees: messages of one pipe arrive whole and in the order in which they were sent. Sending
    never blocks (the window bounds the traffic) and works before the other end exists. `receive`
    belongs to the job's main thread, `control` to its control thread. `send` may be called by one
    thread at a time for each pipe, everything else by any thread.

    A job's process constructs it with a `fission.ports.Wiring` and, where other machines can reach
    the job, ``guard``: a function that returns the encryption for the transport's context.
    """

    def send(self, pipe: PipeId, frames: Sequence[Buffer]) -> None:
        """Send a data message to the consumer of an output pipe."""
        ...

    def receive(self, *, wait: bool = True) -> list[Buffer] | None:
        """Return the next data message of any input pipe.

        None if there is none (with ``wait=False``) or `wake` was called.
        """
        ...

    def wake(self) -> None:
        """Make the current or the next `receive` return None."""
        ...

    def answer(self, pipe: PipeId, frame: Buffer) -> None:
        """Send a release to the producer of an input pipe."""
        ...

    def tell(self, frame: Buffer) -> None:
        """Send a message to the client, if there is a client to report to."""
        ...

    def control(self, timeout: Seconds | None) -> list[Buffer] | None:
        """Return the next release or command for this job.

        None after ``timeout`` seconds (None: no limit) or after `wake_control`; may return None
        early. Where connections can break, the links themselves issue the commands `RewirePipe` (a
        connection broke) and `RepeatReports` (the connection to the client broke).
        """
        ...

    def wake_control(self) -> None:
        """Make the current or the next `control` return None."""
        ...

    def redirect(self, pipe: PipeId, address: str) -> None:
        """Use a new address for the consumer of an output or the producer of an input from now on.

        Empty: the same address, by a new connection.
        """
        ...

    def reach_client(self, address: str) -> None:
        """Use a new address for the client from now on.

        When the client is reached, `control` returns the command `RepeatReports`.
        """
        ...

    @property
    def addresses(self) -> Mapping[str, str]:
        """Addresses of this end for other machines, by ``data`` and ``control``.

        Empty if other machines cannot reach it.
        """
        ...

    def close(self, linger: Seconds) -> None:
        """Free all resources. Idempotent.

        Messages that were sent still go out for up to ``linger`` seconds.
        """
        ...
