"""The outcome of a job's process: what its end means for the job, and the error in words."""

from __future__ import annotations

import contextlib
import re
from importlib.metadata import PackageNotFoundError, version

from fission.ports import JobExited
from fission.posix.exit_status import how_ended

#: Python's message for a module that cannot be imported.
MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")


def unreported(status: int) -> str:
    """Return the error of a job whose process ended with an exit status but without a report."""
    hint = " without reporting an error; a job ends by finish(), not by exit()" if status >= 0 else ""
    return f"its process {how_ended(status)}{hint}"


def failed_job(reason: str) -> str:
    """Return the job whose failure is the reason for a network's end."""
    return reason.removesuffix(" failed").removeprefix("no place for ")


def outcome_of(event: JobExited, *, stopping: bool, node: str, local: bool) -> tuple[str, str | None, int | None]:
    """Return (outcome, error, compute block) of a process that has ended.

    Args:
        event: end of the process.
        stopping: whether the network is being stopped.
        node: name of its node.
        local: whether the node is the client's own.
    """
    report = event.report
    outcome = "failed" if report is None else report.outcome
    if outcome == "stopped" and not stopping:
        return "failed", "its process was stopped by SIGTERM, which FISSION did not send", None
    if outcome != "failed":
        return outcome, None, None
    error = unreported(event.code) if report is None or not report.error else report.error
    block = None if report is None else report.block  # a killed process has not failed at a block
    return outcome, error if local else located(error, node), block


def located(error: str, node: str) -> str:
    """Return the error of a job with a remedy if a module is missing on its node.

    The remedy applies where the node is another machine and lacks something that this one has.
    """
    missing = MISSING_MODULE.search(error)
    if missing is None:
        return error
    name, inner, _ = missing[1].partition(".")
    if inner:
        # the package is there, without this module
        with contextlib.suppress(PackageNotFoundError):
            here = f" (here it is {version(name)})"
            how = f"install the same there, with the pip of its service (python3 -m pip install {name}=={version(name)})"
            return f"{error}\nnode {node} has another version of {name}, without {missing[1]}{here}: {how}"
    if name == "pypelinin":  # the package index has the older one, for Python 2
        how = "FISSION's package of this name goes to nodes if the client has it: install its wheel here, then run fission provision renew"
        return f"{error}\nthe module {name} is missing on node {node}: {how}"
    how = f"install it there, with the pip of its service (python3 -m pip install {name}), or add it to the job's DEPENDENCIES"
    return f"{error}\nthe module {name} is missing on node {node}: {how}"
