"""Which compute block an executable's output block belongs to, and which inputs may be released.

An executable with a RATIO gives p blocks on every output for q compute blocks: a *group*. Its n-th
block on an output belongs to the group that it completes, however far the program has read ahead,
so its number follows from the compute blocks that the program was given. The inputs of a group are
released when all of its output blocks are: a new incarnation is fed from the first unreleased
group.

A RATIO that the user has not declared is an assumption, which `gives_otherwise` checks. While it
holds, inputs are released as above. Once it fails, the program counts as one with RATIO = None, and
there is no relay from then on.

There is no I/O and no lock here: the caller has one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from fission.errors import LocalProtocolError
from fission.protocol.relay_groups import Groups

#: Seconds for which a program that was given a full window may read all of it and write nothing,
#: before it counts as one that gives less than one block for one. Arbitrary: the stream stalls for
#: this long, once; long for a program, short for a viewer.
SILENT_S = 2.0
#: Maximum number of full windows of blocks that the program may owe. A producer that waits gives it
#: one window; arbitrary above that.
HELD_WINDOWS = 2


class Relay:
    """The groups that a program was given and whose outputs are not released yet.

    Attributes:
        passed: compute block up to which blocks were given to the program, or omitted because they
            do not exist.
        given: number of blocks that came on each output since `begin`.
        fed: number of compute blocks that the program was given since `begin`.
    """

    def __init__(self, ratio: Fraction, outputs: int) -> None:
        """Begin before compute block 1.

        Args:
            ratio: number of blocks on each output for one compute block; above 0.
            outputs: number of outputs, from 1.

        Raises:
            LocalProtocolError: an argument is out of range.
        """
        if ratio <= 0 or outputs < 1:
            raise LocalProtocolError(f"a relay has a ratio above 0 and at least one output; got {ratio} and {outputs}")
        self._gives, self._takes = ratio.numerator, ratio.denominator
        self._outputs = outputs
        self.begin(1)

    def begin(self, first: int) -> None:
        """Begin with a new program, which is given compute block ``first`` next.

        It has given nothing yet.
        """
        self.passed = first - 1
        self.given = [0] * self._outputs
        self.fed = 0
        self._groups = Groups(self._takes)
        self._gone = 0  # groups that were released and are no longer kept

    def first_from(self, beginning: int) -> int:
        """Return the first compute block of a group from ``beginning`` on.

        A producer that resumes within a group had all of that group released.
        """
        return -(-(beginning - 1) // self._takes) * self._takes + 1

    def feed(self, number: int) -> None:
        """Record that the program is about to be given this compute block."""
        if number <= self.passed:
            raise LocalProtocolError(f"compute block {number} is not after {self.passed}")
        if self.fed % self._takes == 0:
            self._groups.append(number)
        self.fed += 1
        self.passed = number

    def feed_run(self, numbers: Sequence[int]) -> None:
        """Do as `feed` for each of these compute blocks, which are in ascending order."""
        if self._gives != 1 or self._takes != 1 or numbers[0] <= self.passed:
            for number in numbers:
                self.feed(number)
            return
        self._groups.extend(numbers)
        self.fed += len(numbers)
        self.passed = numbers[-1]

    def skip(self, number: int) -> None:
        """Record that compute blocks up to ``number`` that were not given do not exist."""
        self.passed = max(self.passed, number)

    def give(self, output: int) -> int | None:
        """Record a block on an output; return its number.

        None: it belongs to no group that the program was given.
        """
        number = self._next(output)
        if number is not None:
            self.given[output] += 1
        return number

    def _next(self, output: int) -> int | None:
        group, position = divmod(self.given[output], self._gives)
        index = group - self._gone
        return self._output_of(self._groups[index]) + position if index < len(self._groups) else None

    def _output_of(self, number: int) -> int:
        """Return the number of the first output block of the group that begins with a compute block."""
        return (number - 1) * self._gives // self._takes + 1

    def give_run(self, output: int, most: int, read: float = math.inf) -> range:
        """Record up to ``most`` blocks on an output whose numbers follow each other; return them.

        It stops before a block that belongs to no group that the program was given, or that
        `needs` a compute block after ``read``.
        """
        if self._gives == self._takes == 1:
            start = self.given[output] - self._gone
            if start >= len(self._groups):
                return range(0)
            first, count = self._groups.run_from(start)
            count = min(count, most)
            if first + count - 1 > read:
                count = max(0, int(read) - first + 1)
            self.given[output] += count
            return range(first, first + count)
        first = following = self._next(output) or 0
        while following - first < most and self.needs(output) <= read and self._next(output) == following:
            self.given[output] += 1
            following += 1
        return range(first, following)

    def needs(self, output: int) -> int:
        """Return the compute block that the program must have read to complete its next block.

        Only the last block of a group on an output needs the whole group: the others may come while
        the group is still being read. A block outside all groups would need a compute block that
        the program was not given. For groups of one compute block.
        """
        group, position = divmod(self.given[output], self._gives)
        index = group - self._gone - (position < self._gives - 1)
        if index < 0:
            return 0
        return self._groups[index] if index < len(self._groups) else self.passed + 1

    @property
    def answered(self) -> int:
        """The compute block up to which every output has had all of its blocks."""
        return self._before(self._answered_groups - self._gone)

    @property
    def owed(self) -> int:
        """Number of compute blocks in unanswered whole groups.

        The program was given these groups, and at least one output has not had all blocks of them.
        """
        return max(0, self.fed // self._takes - self._answered_groups) * self._takes

    def covered(self, released: int) -> int:
        """Return the last compute block whose output blocks all have numbers up to ``released``."""
        return self._before(self._covered_groups(released))

    def release(self, released: int) -> int:
        """Return the same as `covered`, and discard those groups: a release is final."""
        count = self._covered_groups(released)
        self._groups.drop(count)
        self._gone += count
        return self._before(0)

    @property
    def _answered_groups(self) -> int:
        return min(self.fed // self._takes, min(self.given) // self._gives)

    def _covered_groups(self, released: int) -> int:
        # the last number of the output blocks of a group that begins with n is (n - 1) * gives // takes + gives
        last = ((released - self._gives + 1) * self._takes - 1) // self._gives + 1
        return min(self._answered_groups - self._gone, self._groups.count_upto(last))

    def _before(self, index: int) -> int:
        return self._groups[index] - 1 if index < len(self._groups) else self.passed


def gives_otherwise(
    relay: Relay, *, silent: float = 0.0, over: bool = False, held: float = 0.0, output: int | None = None, read: int = 0
) -> bool:
    """Whether a program without a declared RATIO has shown that it does not give one block for one.

    Args:
        relay: relay with the assumed RATIO of 1.
        silent: seconds since the last output of a program that has read everything and waits while
            its producers wait for a release.
        over: whether the program has ended, having received all of its inputs.
        held: number of full windows of blocks that it was given and has not answered; there is no
            limit for a producer that drops blocks instead of waiting.
        output: output on which a block has come, before `Relay.give`.
        read: compute block up to which the program may have read its inputs by then.
    """
    if output is not None:
        # a block that comes before its input was read does not result from it; to wait until no
        # input is left would release unread ones
        return relay.needs(output) > read
    return relay.owed > 0 and (over or silent >= SILENT_S or held > HELD_WINDOWS)
