"""How this machine is: means over 3 seconds."""

from __future__ import annotations

from collections import deque

import psutil

WINDOW_S = 3.0
EVERY_S = 0.25


class Means:
    """Samples of this machine."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._samples: deque[tuple[float, dict[str, float]]] = deque()
        psutil.cpu_percent(None)

    def sample(self, now: float) -> None:
        """Take a sample if the last one is old enough."""
        if self._samples and now - self._samples[-1][0] < EVERY_S:
            return
        found = {
            "cpu": 100.0 - psutil.cpu_percent(None),
            "memory": psutil.virtual_memory().available,
            "disk": psutil.disk_usage("/").free,
            "swap": psutil.swap_memory().percent,
        }
        self._samples.append((now, found))
        while now - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()

    def values(self) -> dict[str, float]:
        """Means by the names of `core.nodes.NodeInfo`."""
        count = len(self._samples)
        return {name: sum(one[name] for _, one in self._samples) / count for name in self._samples[0][1]} if count else {}
