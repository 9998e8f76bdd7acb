"""Check whether a program keeps the RATIO of its job.

A violation is an error if the RATIO was declared, otherwise a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from fission.core.executable_job import declares_ratio
from fission.core.jobs import ExecutableJob
from fission.errors import RatioError
from fission.protocol.relay import Relay

#: Bytes that a program may have read but not answered without being suspected: they fit in the program's own buffers. Arbitrary:
#: eight times the largest common buffer.
BUFFERED_BYTES = 1 << 20
#: Seconds for which a program with a full window may neither read nor write: until a warning, and until it counts as having broken
#: its RATIO. Arbitrary.
SUSPECT_S, BROKEN_S = 5.0, 30.0


class RatioWatch:
    """Compares a program's output with its input.

    Attributes:
        declared: whether the user has set RATIO, so that a program that breaks it has failed.
    """

    def __init__(self, job: ExecutableJob, relay: Relay, warn: Callable[[str], None]) -> None:
        """Begin to watch.

        Args:
            job: job of the program.
            relay: state machine with the block numbers.
            warn: function called once with a text when the program is suspected.
        """
        self._job, self._relay, self._warn = job, relay, warn
        self.declared = declares_ratio(job)
        self._moved_at = self._idle_at = monotonic()
        self._bytes = 0
        self._warned = False

    def begin(self) -> None:
        """Begin again with a program that has not been fed yet."""
        self._bytes = 0

    def fed(self, size: int) -> None:
        """Record that ``size`` bytes are about to be fed to the program."""
        self._bytes += size

    def moved(self) -> None:
        """Any thread: record that the program has written something."""
        self._moved_at = monotonic()

    @property
    def buffers(self) -> bool:
        """Whether the unanswered blocks may be in the program's own buffers.

        A program may empty these only when it gets more input.
        """
        relay = self._relay
        return not relay.owed or self._bytes * relay.owed // max(1, relay.fed) <= BUFFERED_BYTES

    def held(self, blocks: int, size: int) -> float:
        """Return how many windows of this size the unanswered blocks would fill.

        Args:
            blocks: number of blocks in a window.
            size: number of bytes in a window.
        """
        owed = self._relay.owed
        return max(owed / blocks, self._bytes * owed / max(1, self._relay.fed) / size)

    def idle_s(self) -> float:
        """Return the seconds since the first call of this method after the last output."""
        if self._idle_at <= self._moved_at:
            self._idle_at = monotonic()
        return monotonic() - self._idle_at

    def say_otherwise(self) -> None:
        """Warn once that a program without a declared RATIO does not give one block for one.

        The warning includes the consequences.
        """
        if self._warned:
            return
        self._warned = True
        self._warn(
            f"it does not give one block for one, and its RATIO is not set: until this was noticed, it {self._counts}. It continues as "
            "with RATIO = None: if it is killed, blocks that it has read and not answered are lost, and counted. Set RATIO to what the "
            "program does (an int or a fractions.Fraction), or to None if that varies"
        )

    def look(self, owed: int, *, full: bool) -> RatioError | None:
        """Judge a program that has read everything and gives nothing, while a producer waits.

        The program is slow, holds output back or breaks its RATIO. Returns None, or finally the
        error of a program that is ``full``.

        Args:
            owed: number of compute blocks that the program has not answered.
            full: whether the program may get no more input, and would therefore hang for ever.
        """
        silent = monotonic() - self._moved_at
        if silent < SUSPECT_S:
            return None
        text = (
            f"{self._job._fission_name} {self._counts}, and has not answered {owed} of them for {silent:.0f} s. It must flush "
            "its output after "
            f"each block. {self._remedy}"
        )
        if silent >= BROKEN_S and full:
            return RatioError(text)
        if not self._warned:
            self._warned = True
            self._warn(text)
        return None

    def surplus(self, output: int) -> RatioError:
        """Return the error of a program that gave a block too many."""
        pipe = self._job.outputs[output].id
        return RatioError(f"{self._job._fission_name} gave a block on pipe {pipe} too many: until then it {self._counts}. {self._remedy}")

    def too_few(self) -> RatioError:
        """Return the error of a program that ended before answering all blocks."""
        return RatioError(f"{self._job._fission_name} gave too few blocks: it {self._counts} until its inputs ended. {self._remedy}")

    @property
    def _counts(self) -> str:
        relay = self._relay
        given = " and ".join(f"{count} on pipe {pipe.id}" for count, pipe in zip(relay.given, self._job.outputs, strict=True))
        return f"was given {relay.fed} compute blocks and gave {given}"

    @property
    def _remedy(self) -> str:
        return (
            f"RATIO is {self._job.RATIO}, the number of blocks on each output for one on its first input; set RATIO to what the "
            "program does (an int or a fractions.Fraction), or to None if that varies"
        )
