"""What the user sees of each job: its warnings, its end and its failures.

`FailureReports` holds back the failures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from fission.client.reports.failure_reports import FailureReports
from fission.client.reports.job_outcome import failed_job
from fission.errors import EXIT_FAILED
from fission.ports import Observer
from fission.protocol.messages.job_to_client import JobWarning

log = logging.getLogger("fission.client")


class JobReports:
    """Reports on the jobs of one run.

    Attributes:
        failures: failures that are held back.
    """

    def __init__(self, names: Mapping[int, str], on_console: Callable[[str, int, int], None]) -> None:
        """Begin without reports.

        Args:
            names: names of the jobs, by id.
            on_console: called with ("ended", job, 0) for each job that ends without a failure.
        """
        self._names, self._on_console = names, on_console
        self._warned: set[tuple[int, str | None]] = set()  # job and subject of warnings that are shown once
        self.failures = FailureReports()

    def warning(self, job: int, warning: JobWarning, observer: Observer) -> None:
        """Show a warning of a job; one with a subject (``once``) only the first time."""
        subject = (job, warning.once)
        if warning.once is None or subject not in self._warned:
            self._warned.add(subject)
            observer.warning(f"{self._names[job]}: {warning.text}")

    def ended(self, job: int, outcome: str, error: str | None, now: float, observer: Observer) -> None:
        """Report the end of a job's newest incarnation.

        Args:
            job: id of the job.
            outcome: its outcome, as in `JobSummary`.
            error: the error with which it failed; None: it did not fail.
            now: current moment.
            observer: notified of the end.
        """
        name = self._names[job]
        if error is not None and outcome == "failed":
            log.error("%s failed: %s", name, error)
            if not error.startswith("its process was killed"):
                self.failures.failed(name, job, error, now)
            return
        self._on_console("ended", job, 0)
        log.info("%s %s", name, outcome)
        observer.job_ended(name, job, outcome)
        if outcome == "ended":
            observer.warning(f"{name} returned None and has outputs: it has ended, and the jobs after it are not notified")

    def end(self, exit_code: int, reason: str, error: str, observer: Observer) -> None:
        """Report the failures held back, then the one that ended the network, if any."""
        name = failed_job(reason)
        number = next((job for job, known in self._names.items() if known == name), 0)
        self.failures.end(name, number, error if exit_code == EXIT_FAILED else "", observer)
