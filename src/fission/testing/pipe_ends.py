"""The pipes of a job that is emulated, one by one: what goes in, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fission.core.base import BasePipe
from fission.core.head import Head
from fission.errors import DefinitionError
from fission.testing.pipe_emulator import PipeEmulator


class InputEnd(PipeEmulator):
    """An input of a job: `put` sends it a block. A call is that of the pipe alone, as of any `PipeEmulator`."""

    def __init__(self, pipe: BasePipe, send: Callable[[Any, int], None], *, quiet: bool, head_size: int) -> None:
        """Args: pipe: which one. send: a block to the job, as (value, head). quiet, head_size: as for `emulate`."""
        super().__init__(pipe, quiet=quiet, head_size=head_size)
        self._send = send

    def put(self, value: Any) -> None:
        """Send one block to the job, with the head of the `put_head` before, or else 0.

        Raises:
            ValueFitError: the value does not fit the pipe.
            JobFailed: the job has ended.
        """
        self._send(value, self._heads[0] if self._heads else 0)
        if self._heads:
            self._heads.popleft()

    def get(self) -> Any:
        """Not for an input: raises DefinitionError."""
        raise self._wrong_end()

    def get_head(self) -> int:
        """Not for an input: raises DefinitionError."""
        raise self._wrong_end()

    def _wrong_end(self) -> DefinitionError:
        return DefinitionError(f"{self.pipe} leads into the job, which takes what is put there; get takes from out_emulators")


class OutputEnd(PipeEmulator):
    """An output of a job: `get` takes its next block. A call is that of the pipe alone, as of any `PipeEmulator`."""

    def __init__(self, pipe: BasePipe, take: Callable[[bool], tuple[Any, int]], *, quiet: bool, head_size: int) -> None:
        """Args: pipe: which one. take: the next block as (value, head); False leaves it there. quiet, head_size: as for `emulate`."""
        super().__init__(pipe, quiet=quiet, head_size=head_size)
        self._take = take

    def get(self) -> Any:
        """Take the value of the next block, when it has come; a source computes it now.

        Raises:
            JobFailed: the job raised, has ended, or gave nothing in time.
        """
        return self._take(True)[0]

    def get_head(self) -> int:
        """Return the head of the block that `get` takes next, when it has come.

        Raises:
            JobFailed: as for `get`.
        """
        return self._take(False)[1]

    def put(self, value: Any) -> None:
        """Not for an output: raises DefinitionError."""
        raise self._wrong_end()

    def put_head(self, head: int | Head) -> None:
        """Not for an output: raises DefinitionError."""
        raise self._wrong_end()

    def _wrong_end(self) -> DefinitionError:
        return DefinitionError(f"{self.pipe} leads out of the job, which sends what comes there; put sends to in_emulators")
