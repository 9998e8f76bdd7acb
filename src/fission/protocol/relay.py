"""Which compute block an executable's output block belongs to, and which inputs may be released.

An executable with a RATIO gives p blocks to every output for q compute blocks: a *group*. Its n-th block on an output belongs
to the group that it completes, whatever the program has read ahead, so its number follows from the compute blocks that the program was
given. Inputs of a group are released when all of its output blocks are: a new incarnation is fed from the first unreleased group.

A RATIO that the user has not declared is an assumption, which `gives_otherwise` judges. While it holds, an input is released as above;
when it does not, the program counts as one with RATIO = None, and there is no relay from then on.

No I/O and no lock: the caller has one.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction

from fission.errors import LocalProtocolError

#: Seconds for which a program that was given all that a window has may read it all and write nothing, until it counts as one that gives
#: less than one block for one. Arbitrary: the stream stands still for so long, once; long for a program, short for who watches.
SILENT_S = 2.0
#: Windows full of blocks that it may owe. A producer that waits gives it one; arbitrary above that.
HELD_WINDOWS = 2


class Relay:
    """The groups that a program was given and whose outputs are not released yet.

    Attributes:
        passed: compute blocks up to here were given to the program, or left out because they do not exist.
        given: blocks that came on each output since `begin`.
        fed: compute blocks that the program was given since `begin`.
    """

    def __init__(self, ratio: Fraction, outputs: int) -> None:
        """Begin before compute block 1.

        Args:
            ratio: blocks on each output for one compute block; above 0.
            outputs: how many there are, from 1.
        """
        if ratio <= 0 or outputs < 1:
            raise LocalProtocolError(f"a relay has a ratio above 0 and at least one output; got {ratio} and {outputs}")
        self._gives, self._takes = ratio.numerator, ratio.denominator
        self._outputs = outputs
        self.begin(1)

    def begin(self, first: int) -> None:
        """A program is given compute block ``first`` next, and has given nothing yet."""
        self.passed = first - 1
        self.given = [0] * self._outputs
        self.fed = 0
        self._groups: deque[tuple[int, int]] = deque()  # first compute block, number of its first output block
        self._gone = 0  # groups that were released, and are not kept any longer

    def first_from(self, beginning: int) -> int:
        """Return the first compute block of a group from ``beginning`` on: a producer that resumes within one had all of it released."""
        return -(-(beginning - 1) // self._takes) * self._takes + 1

    def feed(self, number: int) -> None:
        """The program is about to be given this compute block."""
        if number <= self.passed:
            raise LocalProtocolError(f"compute block {number} is not after {self.passed}")
        if self.fed % self._takes == 0:
            self._groups.append((number, (number - 1) * self._gives // self._takes + 1))
        self.fed += 1
        self.passed = number

    def skip(self, number: int) -> None:
        """Compute blocks up to ``number`` that the program was not given do not exist."""
        self.passed = max(self.passed, number)

    def give(self, output: int) -> int | None:
        """A block has come on an output; return its number, None if no group that the program was given has it."""
        group, position = divmod(self.given[output], self._gives)
        if group - self._gone >= len(self._groups):
            return None
        self.given[output] += 1
        return self._groups[group - self._gone][1] + position

    def needs(self, output: int) -> int:
        """Return the compute block that the program must have read before its next block on an output can be whole.

        Only the last block of a group needs all of it: the others may come while the group is still read. A block that no group has would
        need one that the program was not given. For groups of one compute block.
        """
        group, position = divmod(self.given[output], self._gives)
        index = group - self._gone - (position < self._gives - 1)
        if index < 0:
            return 0
        return self._groups[index][0] if index < len(self._groups) else self.passed + 1

    @property
    def answered(self) -> int:
        """Compute blocks up to here are done with: every output has had all of its blocks."""
        return self._before(self._answered_groups - self._gone)

    @property
    def owed(self) -> int:
        """Compute blocks of whole groups that the program was given and that some output has not had all blocks of."""
        return max(0, self.fed // self._takes - self._answered_groups) * self._takes

    def covered(self, released: int) -> int:
        """Return the compute block up to which all output blocks have numbers up to ``released``."""
        return self._before(self._covered_groups(released))

    def release(self, released: int) -> int:
        """As `covered`, and forget those groups: what was released once stays released."""
        count = self._covered_groups(released)
        for _ in range(count):
            self._groups.popleft()
        self._gone += count
        return self._before(0)

    @property
    def _answered_groups(self) -> int:
        return min(self.fed // self._takes, min(self.given) // self._gives)

    def _covered_groups(self, released: int) -> int:
        count, answered = 0, self._answered_groups - self._gone
        for _, first in self._groups:
            if count >= answered or first + self._gives - 1 > released:
                break
            count += 1
        return count

    def _before(self, index: int) -> int:
        return self._groups[index][0] - 1 if index < len(self._groups) else self.passed


def gives_otherwise(
    relay: Relay, *, silent: float = 0.0, over: bool = False, held: float = 0.0, output: int | None = None, read: int = 0
) -> bool:
    """Whether a program whose job declares no RATIO has shown that it does not give one block for one.

    Args:
        relay: with the RATIO 1 that is assumed.
        silent: seconds since the program, which waits with everything read while its producers wait for a release, has written anything.
        over: it has ended, having had all of its inputs.
        held: windows full of blocks that it was given and has not answered; a producer that drops blocks instead of waiting has no limit.
        output: a block has come here, before `Relay.give`.
        read: the compute block up to which it may have read its inputs by then.
    """
    if output is not None:
        # one that comes before its input was read does not come of it; to wait until there is none left would release what is unread
        return relay.needs(output) > read
    return relay.owed > 0 and (over or silent >= SILENT_S or held > HELD_WINDOWS)
