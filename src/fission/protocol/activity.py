"""How a job spends its time: busy, idle, starved or blocked.

Rules
    *Starved*: it waits for blocks. *Blocked*: it waits for room in an output. In the rest of the
    time it is in `run` or `setup`; there it is *busy* while one of its processes is on a processor
    or is ready and waits for one, and *idle* while it sleeps: for a clock, a device, a socket, a
    typed line, or the end of its consumers.

    The loop of a PythonJob measures its waits, and what its other threads compute meanwhile does
    not count. A program waits unseen: while it computes, it is busy, and what is left of the time
    is blocked or starved as far as its host waits for it, and idle otherwise. The host of a program
    waits for blocks also while blocks wait for the program, which is then not starved.

    The four add up to the time that has passed.
"""

from __future__ import annotations

from dataclasses import dataclass


class WaitClock:
    """The time in which at least one of several threads waits; the caller holds a lock.

    Attributes:
        since: time at which the current wait began, in seconds; 0 if there is none.
    """

    def __init__(self) -> None:
        """Begin without a wait."""
        self.since = 0.0
        self._total_s = 0.0
        self._waiting = 0

    def begin(self, now: float) -> None:
        """Record that a thread begins to wait."""
        if not self._waiting:
            self.since = now
        self._waiting += 1

    def end(self, now: float) -> None:
        """Record that a thread's wait is over."""
        self._waiting -= 1
        if not self._waiting:
            self._total_s += now - self.since
            self.since = 0.0

    def seconds(self, now: float) -> float:
        """Any thread: return the seconds of all waits, with the current one."""
        since = self.since
        return self._total_s + (max(0.0, now - since) if since else 0.0)


@dataclass(frozen=True, slots=True)
class Observed:
    """What was measured of a job since its process began, in seconds.

    Attributes:
        at: time of the measurement, on the job's clock.
        cpu_s: processor time of its processes.
        ready_s: time in which they were ready, and waited for a processor.
        starved_s: time in which its loop waited for blocks.
        blocked_s: time in which one of its threads waited for room in an output.
    """

    at: float
    cpu_s: float = 0.0
    ready_s: float = 0.0
    starved_s: float = 0.0
    blocked_s: float = 0.0


@dataclass(slots=True)
class Spent:
    """How a job has spent its time so far, in seconds; the sum is the time that has passed."""

    busy_s: float = 0.0
    idle_s: float = 0.0
    starved_s: float = 0.0
    blocked_s: float = 0.0


class Activity:
    """Adds up how one incarnation of a job spends its time.

    Attributes:
        spent: up to the last `observe`.
    """

    def __init__(self, began: float, *, program: bool = False) -> None:
        """Begin with nothing spent.

        Args:
            began: time on the job's clock.
            program: whether the job is a program, whose waits are not seen.
        """
        self.spent = Spent()
        self._last = Observed(began)
        self._program = program

    def observe(self, now: Observed) -> Spent:
        """Take a measurement; return how the time was spent up to it."""
        last, self._last = self._last, now
        left = max(0.0, now.at - last.at)
        # at least 0: what an ended child has used is only counted when its parent has asked for its exit code
        computed = max(0.0, now.cpu_s - last.cpu_s) + max(0.0, now.ready_s - last.ready_s)
        starved, blocked = max(0.0, now.starved_s - last.starved_s), max(0.0, now.blocked_s - last.blocked_s)
        spent = self.spent
        parts = [("blocked_s", blocked), ("starved_s", starved)]
        for name, seconds in [("busy_s", computed), *parts] if self._program else [*parts, ("busy_s", computed)]:
            part = min(left, seconds)
            setattr(spent, name, getattr(spent, name) + part)
            left -= part
        spent.idle_s += left
        return spent
