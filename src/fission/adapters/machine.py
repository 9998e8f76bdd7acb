"""How busy this machine is: means of processor, memory, disk and swap over the last three seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds that a mean looks back on. SPEC: "all means over 3 s".
WINDOW_S = 3.0
#: Seconds between two samples; arbitrary: a dozen in the window, and no load on a board.
SAMPLE_S = 0.25


@dataclass(frozen=True)
class Load:
    """Measured values of a node, named as in `fission.core.nodes.NodeInfo`.

    Attributes:
        cpu: free time of all processors together, percent.
        memory: free memory, bytes: what programs can have without swapping.
        disk: free bytes of a folder's disk, for who is not root.
        swap: swap in use, percent; 0 without swap.
    """

    cpu: float = 100.0
    memory: int = 0
    disk: int = 0
    swap: float = 0.0


@dataclass(frozen=True)
class _Sample:
    now: float
    free_s: float  # of all processors, since the machine began
    all_s: float
    memory: int
    disk: int
    swap: float


class Means:
    """Samples this machine when it is asked to. Nothing waits; for one thread.

    `sample` is to be called at least some times a second. If it is called less often, means go back to the sample before.
    """

    def __init__(self, folder: Path, psutil: Any = None) -> None:
        """Args:
        folder: whose disk is looked at; if it does not exist yet, the nearest one above it.
        psutil: the module, or what stands for it.
        """
        if psutil is None:
            import psutil
        self._psutil = psutil
        self._folder = folder
        self._samples: deque[_Sample] = deque()

    def sample(self, now: float) -> bool:
        """Take a sample, if there is none or the last one is `SAMPLE_S` old. Says whether it did.

        Args:
            now: monotonic seconds.
        """
        if self._samples and now < self._samples[-1].now + SAMPLE_S:
            return False
        try:
            sample = self._sample(now)
        except OSError:  # no descriptor is left to look with: the last means are still the best that is known
            return False
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].now <= now - WINDOW_S:
            self._samples.popleft()
        return True

    def _sample(self, now: float) -> _Sample:
        times = self._psutil.cpu_times()
        free = times.idle + getattr(times, "iowait", 0.0)  # a processor that waits for a disk is free for others
        # on Linux, user time has the time of guests in it already
        everything = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        memory = int(self._psutil.virtual_memory().available)
        return _Sample(now, free, everything, memory, self._disk(), self._swap())

    def load(self) -> Load:
        """The means over the last `WINDOW_S` before the last sample; `Load`'s defaults before the first one."""
        count = len(self._samples)
        if count == 0:
            return Load()
        first, last = self._samples[0], self._samples[-1]
        passed = last.all_s - first.all_s
        return Load(
            # the kernel's counters may go back a little
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
            except OSError:  # nothing can be written where not even this can be asked
                return 0
        return 0

    def _swap(self) -> float:
        try:
            return float(self._psutil.swap_memory().percent)
        except (OSError, RuntimeError):  # some containers hide it
            return 0.0
