"""The client's view of one incarnation of a job of this machine: its pipes and its process."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator

from fission.ports import JobId, JobOutput
from fission.protocol.messages.client_to_fork_server import SignalChild
from fission.protocol.messages.process_to_engine import ProcessReport, read_report

#: Bytes of a job's output that one read takes, and the most that wait for the end of a line.
READ_BYTES = 1 << 16
#: Reads that empty a pipe of the largest size (1 MiB); limited because a process that outlives the job may write forever.
DRAIN_READS = 17


class Stream:
    """One output stream of a job, split into lines."""

    def __init__(self, job: JobId, name: str, descriptor: int) -> None:
        self.job, self.name, self.descriptor = job, name, descriptor
        self._rest = b""

    def read(self) -> tuple[tuple[str, ...], bool]:
        """Return the complete lines received, and whether there may be more."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return (), False
        if not data:
            return self.rest(), False
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > READ_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return tuple(line.decode("utf-8", "replace") for line in lines), True

    def rest(self) -> tuple[str, ...]:
        """Return the rest of an unterminated line."""
        rest, self._rest = self._rest, b""
        return (rest.decode("utf-8", "replace"),) if rest else ()


class Running:
    """One incarnation of a job."""

    def __init__(self, job: JobId, incarnation: int) -> None:
        self.job, self.incarnation = job, incarnation
        self.streams: list[Stream] = []
        self.report = -1
        self.killer: asyncio.TimerHandle | None = None
        self.process = 0  # id of the process and of its process group; 0 until the fork server has reported it

    def signal(self, number: int) -> SignalChild:
        """Return the request that makes its fork server send the job a signal."""
        return SignalChild(key=(self.job, self.incarnation), number=number)

    def open_pipes(self) -> list[int]:
        """Create the pipes for the job's output and report; return the job's ends.

        Raises:
            OSError: a pipe cannot be created; none is left open.
        """
        theirs: list[int] = []
        try:
            for name in ("stdout", "stderr", ""):
                read, write = os.pipe()
                os.set_blocking(read, False)
                theirs.append(write)
                if name:
                    self.streams.append(Stream(self.job, name, read))
                else:
                    self.report = read
        except OSError:
            for descriptor in (*theirs, *(stream.descriptor for stream in self.streams)):
                os.close(descriptor)
            raise
        return theirs

    def last_output(self) -> Iterator[JobOutput]:
        """Yield what the job has written and was not read yet, with unterminated lines."""
        for stream in self.streams:
            for _ in range(DRAIN_READS):
                lines, more = stream.read()
                if lines:
                    yield JobOutput(stream.job, stream.name, lines)
                if not more:
                    break
            if rest := stream.rest():
                yield JobOutput(stream.job, stream.name, rest)

    def read_report(self) -> ProcessReport | None:
        """Return the report of its process, which has ended; None if it has written none."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.report, READ_BYTES):
                data += chunk
        return read_report(data)

    def close(self) -> None:
        """Close the pipes, and cancel the kill that waits for it."""
        if self.killer is not None:
            self.killer.cancel()
        for stream in self.streams:
            asyncio.get_running_loop().remove_reader(stream.descriptor)
            os.close(stream.descriptor)
        os.close(self.report)

    def signal_group(self, number: int) -> bool:
        """Send a signal to the process and all processes of its group; return whether there are
        any.
        """
        if not self.process:
            return False
        try:
            os.killpg(self.process, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True
