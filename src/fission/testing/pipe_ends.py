"""The single pipes of an emulated job: blocks sent to its inputs, blocks taken from its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fission.core.base import BasePipe
from fission.core.head import Head
from fission.errors import DefinitionError
from fission.testing.pipe_emulator import PipeEmulator


class InputEnd(PipeEmulator):
    """An input of a job: `put` sends it a block.

    A call uses the pipe alone, as in `PipeEmulator`.
    """

    def __init__(self, pipe: BasePipe, send: Callable[[Any, int], None], *, quiet: bool, head_size: int) -> None:
        """Create the end.

        Args:
            pipe: the input.
            send: sends a block to the job, given its value and head.
            quiet: as for `emulate`.
            head_size: as for `emulate`.
        """
        super().__init__(pipe, quiet=quiet, head_size=head_size)
        self._send = send

    def put(self, value: Any) -> None:
        """Send one block to the job, with the head of the preceding `put_head`, or 0.

        Raises:
            ValueFitError: the value does not fit the pipe.
            JobFailed: the job has ended.
        """
        self._send(value, self._heads[0] if self._heads else 0)
        if self._heads:
            self._heads.popleft()

    def get(self) -> Any:
        """Raise DefinitionError: an input has no blocks to take."""
        raise self._wrong_end()

    def get_head(self) -> int:
        """Raise DefinitionError: an input has no heads to take."""
        raise self._wrong_end()

    def _wrong_end(self) -> DefinitionError:
        return DefinitionError(f"{self.pipe} leads into the job, which takes what is put there; get takes from out_emulators")


class OutputEnd(PipeEmulator):
    """An output of a job: `get` takes its next block.

    A call uses the pipe alone, as in `PipeEmulator`.
    """

    def __init__(self, pipe: BasePipe, take: Callable[[bool], tuple[Any, int]], *, quiet: bool, head_size: int) -> None:
        """Create the end.

        Args:
            pipe: the output.
            take: returns the next block as (value, head), and keeps it there if given False.
            quiet: as for `emulate`.
            head_size: as for `emulate`.
        """
        super().__init__(pipe, quiet=quiet, head_size=head_size)
        self._take = take

    def get(self) -> Any:
        """Take the value of the next block, and wait for it; a source computes it now.

        Raises:
            JobFailed: the job raised, has ended, or sent nothing in time.
        """
        return self._take(True)[0]

    def get_head(self) -> int:
        """Return the head of the block that `get` takes next, and wait for it.

        Raises:
            JobFailed: as for `get`.
        """
        return self._take(False)[1]

    def put(self, value: Any) -> None:
        """Raise DefinitionError: blocks are put into inputs."""
        raise self._wrong_end()

    def put_head(self, head: int | Head) -> None:
        """Raise DefinitionError: heads are put into inputs."""
        raise self._wrong_end()

    def _wrong_end(self) -> DefinitionError:
        return DefinitionError(f"{self.pipe} leads out of the job, which sends what comes there; put sends to in_emulators")
