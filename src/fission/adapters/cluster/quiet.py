"""Settings of Dask, by which a service that has nothing to do costs next to nothing: no work of Dask's own is wanted here.

Neither are its web pages: they would listen at every address of the machine, without asking for keys.
"""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, Worker

from fission.adapters.cluster.bounds import bound

#: Measured on an idle service: what this leaves out is most of what it costs.
QUIET = {
    # no tasks of users run in these workers, so that there is nothing to sample, to steal or to copy
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    # how far the event loop lags behind, 50 times a second
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.worker.memory.monitor-interval": "5s",
    # pages that are not shown need not be loaded
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


class Reserved:
    """Mixed into what listens for Dask: none of its web pages, whatever `distributed` is asked for, and little for strangers."""

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
