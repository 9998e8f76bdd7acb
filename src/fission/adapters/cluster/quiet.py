"""Settings of Dask, by which a service that has nothing to do costs next to nothing: no work of Dask's own is wanted here."""

from __future__ import annotations

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
}
