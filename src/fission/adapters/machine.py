"""The load of this machine: means of processor, memory, disk and swap over the last 3 s."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds over which means are taken, as `fission.core.nodes.NodeInfo` documents.
WINDOW_S = 3.0
#: Seconds between two samples; arbitrary: a dozen per window, and negligible load on a board.
SAMPLE_S = 0.25


@dataclass(frozen=True)
class Load:
    """Measured values of a node, named as in `fission.core.nodes.NodeInfo`.

    Attributes:
        cpu: idle time of all processors together, percent.
        memory: memory available to programs without swapping, bytes.
        disk: free space on a folder's disk for users other than root, bytes.
        swap: swap in use, percent; 0 without swap.
    """

    cpu: float = 100.0
    memory: int = 0
    disk: int = 0
    swap: float = 0.0


@dataclass(frozen=True)
class _Sample:
    now: float
    free_s: float  # of all processors, since the machine started
    all_s: float
    memory: int
    disk: int
    swap: float


class Means:
    """Samples this machine on request. Never waits; belongs to one thread.

    Call `sample` several times a second. With fewer calls, means reach back to the previous sample.
    """

    def __init__(self, folder: Path, psutil: Any = None) -> None:
        """Start without samples.

        Args:
            folder: folder on the disk to measure; if it does not exist yet, its nearest parent
                counts.
            psutil: psutil module or a substitute.
        """
        if psutil is None:
            import psutil
        self._psutil = psutil
        self._folder = folder
        self._samples: deque[_Sample] = deque()

    def sample(self, now: float) -> bool:
        """Take a sample unless the last one is younger than `SAMPLE_S`; return whether it did.

        Args:
            now: monotonic time in seconds.
        """
        if self._samples and now < self._samples[-1].now + SAMPLE_S:
            return False
        try:
            sample = self._sample(now)
        except OSError:  # no free descriptor for the measurement: the last means are still the best known
            return False
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].now <= now - WINDOW_S:
            self._samples.popleft()
        return True

    def _sample(self, now: float) -> _Sample:
        times = self._psutil.cpu_times()
        free = times.idle + getattr(times, "iowait", 0.0)  # a processor that waits for a disk is free for other work
        # on Linux, user time already includes the time of guests
        everything = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        memory = int(self._psutil.virtual_memory().available)
        return _Sample(now, free, everything, memory, self._disk(), self._swap())

    def load(self) -> Load:
        """Return the means over the `WINDOW_S` before the last sample.

        Before the first sample they are `Load`'s defaults.
        """
        count = len(self._samples)
        if count == 0:
            return Load()
        first, last = self._samples[0], self._samples[-1]
        passed = last.all_s - first.all_s
        return Load(
            # the kernel's counters may go back slightly
            cpu=min(max(100.0 * (last.free_s - first.free_s) / passed, 0.0), 100.0) if passed > 0 else Load.cpu,
            memory=sum(sample.memory for sample in self._samples) // count,
            disk=sum(sample.disk for sample in self._samples) // count,
            swap=sum(sample.swap for sample in self._samples) / count,
        )

    def _disk(self) -> int:
        for folder in (self._folder, *self._folder.absolute().parents):
            try:
                return int(self._psutil.disk_usage(str(folder)).free)
            except FileNotFoundError:
                continue
            except OSError:  # where even this query fails, nothing can be written
                return 0
        return 0

    def _swap(self) -> float:
        try:
            return float(self._psutil.swap_memory().percent)
        except (OSError, RuntimeError):  # some containers hide it
            return 0.0
