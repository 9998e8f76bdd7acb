"""Dask settings that make an idle service cost next to nothing: Dask's own work is not needed here.

Neither are its web pages: they would listen at every address of the machine without requiring keys.
"""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, Worker

from fission.adapters.cluster.bounds import bound

#: Measured on an idle service: what these settings disable is most of its cost.
QUIET = {
    # no user tasks run in these workers: there is nothing to sample, steal or copy
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    # measures the event loop's lag 50 times a second
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.worker.memory.monitor-interval": "5s",
    # pages that are not shown need not be loaded
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


class Reserved:
    """Mixin for Dask's listeners: no web pages, whatever `distributed` is asked for.

    Unauthenticated peers get little; see `fission.adapters.cluster.bounds`.
    """

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Called by Dask."""

    async def listen(self, *args: Any, **options: Any) -> None:
        """Called by Dask."""
        await super().listen(*args, **options)  # type: ignore[misc]
        bound(self.listeners[-1])  # type: ignore[attr-defined]


class QuietScheduler(Reserved, Scheduler):
    """A scheduler that listens for workers and clients only."""


class QuietWorker(Reserved, Worker):
    """A worker that listens for its scheduler and for other workers only."""
