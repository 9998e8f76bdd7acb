"""What a run sends to OpenTelemetry: itself and its failovers as spans, and its log, with their ids."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import fission
from fission.adapters.open_telemetry import TelemetryExporter
from fission.adapters.telemetry_settings import telemetry_settings
from fission.errors import UserError
from fission.ports import Observer
from fission.protocol.spans import RunIdentity, Value, failover_id, failover_span, run_span
from fission.protocol.supervision_messages import Failover

#: Folder of the folders of runs.
RUNS = "runs"


class RunTelemetry:
    """The telemetry of one client's run; without an exporter, nothing is sent."""

    def __init__(
        self, exporter: TelemetryExporter | None = None, run: RunIdentity | None = None, names: Mapping[int, str] | None = None
    ) -> None:
        """Begin.

        Args:
            exporter: sends; None: nothing is sent.
            run: what it is the telemetry of.
            names: names of the jobs.
        """
        self._exporter, self._run, self._names = exporter, run, names or {}
        self._offset_s = time.time() - time.monotonic()  # of the clock of failovers

    def failed_over(self, failover: Failover) -> None:
        """Send the span of a failover."""
        if self._exporter is not None and self._run is not None:
            self._exporter.send(failover_span(self._run, failover, self._names, self._offset_s))

    def handler(self, level: str | int) -> list[logging.Handler]:
        """Return what sends the records of the run's log: one handler, or none."""
        found = None if self._exporter is None else self._exporter.handler(self._correlation, level)
        return [] if found is None else [found]

    def _correlation(self, record: logging.LogRecord) -> tuple[str, str, Mapping[str, Value]]:
        if self._run is None:
            return "", "", {}
        failover = getattr(record, "failover", None)
        span = failover_id(self._run, failover) if isinstance(failover, Failover) else self._run.span
        return self._run.trace, span, self._run.attributes

    async def close(self, observer: Observer, reason: str, exit_code: int) -> None:
        """Send the span of the run and what waits, for a bounded time. Idempotent.

        Args:
            observer: notified of what is lost.
            reason: how the run has ended.
            exit_code: of the client.
        """
        exporter, self._exporter = self._exporter, None
        if exporter is None or self._run is None:
            return
        exporter.send(run_span(self._run, time.time(), reason, exit_code))
        lost = await asyncio.to_thread(exporter.close)
        if lost:
            observer.warning(lost)


async def open_telemetry(network: str, names: Mapping[int, str], folder: Path, observer: Observer) -> RunTelemetry:
    """Return the telemetry of a run, as the environment asks for it. The libraries are imported in another thread.

    Args:
        network: name of the network.
        names: names of its jobs.
        folder: of the run.
        observer: warned of variables that ask for what cannot be.
    """
    settings = telemetry_settings(os.environ)
    for problem in settings.problems:
        observer.warning(problem)
    if not (settings.traces or settings.logs):
        return RunTelemetry()
    run = RunIdentity.of(network, folder.name, f"{socket.gethostname()}:{folder}", time.time(), lasts=folder.parent.name == RUNS)
    try:
        return RunTelemetry(await asyncio.to_thread(TelemetryExporter, settings, fission.__version__), run, names)
    except UserError as why:
        observer.warning(str(why))
        return RunTelemetry()
