"""Warnings about a network without faults: settings without effect, and limits of this machine."""

from __future__ import annotations

from fission.adapters.descriptors import attainable, comfortable, needed
from fission.errors import UserError
from fission.project.config import LoadedNetwork


def warnings_of(loaded: LoadedNetwork, *, starts: bool = False) -> list[str]:
    """Return everything that a user should know before the network starts, each in a sentence.

    Args:
        loaded: the network.
        starts: whether it is about to start, so that `check_descriptors` reports what it refuses.
    """
    warnings = list(loaded.network.warnings())
    jobs, limit = len(loaded.network.jobs), attainable()
    if limit < comfortable(jobs) and not (starts and limit < needed(jobs)):
        warnings.append(f"{_limits(jobs, limit)}; raise the limit: ulimit -n {comfortable(jobs)}")
    return warnings


def check_descriptors(loaded: LoadedNetwork) -> None:
    """Raise UserError if the network cannot run with the machine's limit of open files."""
    jobs, limit = len(loaded.network.jobs), attainable()
    if limit < needed(jobs):
        raise UserError(f"{_limits(jobs, limit)}; raise the limit: ulimit -n {comfortable(jobs)}")


def _limits(jobs: int, limit: int) -> str:
    return f"the client must be able to open {comfortable(jobs)} files and connections for {jobs} jobs, but this machine allows {limit}"
