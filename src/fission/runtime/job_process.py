"""The lifetime of one job's process, from the fork to its exit code."""

from __future__ import annotations

import errno
import gc
import importlib
import io
import logging
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

from fission.core.base import BaseJob
from fission.core.jobs import ExecutableJob, PythonJob
from fission.durable import LogFile
from fission.errors import DefinitionError, ExecutableError, FissionError, NodeFault, SinkFileError, Stopped, error_text
from fission.ports import NODE_FAULT, JobBundle, Links, SharedReader, SharedWriter
from fission.posix.allocator import keep_freed_memory
from fission.protocol.messages.job_to_client import JobCounts
from fission.runtime import process_end, report
from fission.runtime.endpoint_shell import EndpointShell, make_shell
from fission.runtime.executable_host import ExecutableHost
from fission.runtime.process_title import set_title
from fission.runtime.python_host import PythonHost
from fission.runtime.stopper import Stopper
from fission.runtime.watch import JobWatch

#: Seconds allowed for sending the last releases. Arbitrary: they are a few bytes for a connected process.
LINGER_S = 0.5

#: Seconds that `teardown` may take. Arbitrary: longer than closing files, devices and connections takes, and short
#: enough not to look like a hang.
TEARDOWN_S = 10.0

#: Error numbers that report a shortage of a resource that every job needs.
SCARCE = frozenset({errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS, errno.EMFILE, errno.ENFILE, errno.ENOSPC})

#: Seconds after which a waiting thread gets the interpreter (Python's default is 5 ms). A release that waits 5 ms for
#: a busy job stalls its producer; by measurement, that costs a third of the throughput of small blocks.
SWITCH_S = 0.5e-3

log = logging.getLogger("fission.runtime")


def _scarce(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or getattr(error, "errno", None) in SCARCE


def become_job(
    bundle: JobBundle,
    report_descriptor: int,
    parent_descriptor: int,
    make_host: Callable[[PythonJob, EndpointShell, JobBundle], PythonHost] = PythonHost,
) -> NoReturn:
    """Run the job to its end in this process, then end the process; see `run_job`.

    The exit code is 1 if the job failed, else 0.
    """
    set_title(" ".join(("fission:", *bundle.network.split(), bundle.name)))
    outcome = report.FAILED
    held: list[Any] = []
    try:
        outcome = run_job(bundle, report_descriptor, parent_descriptor, make_host, held)
    except BaseException:  # nothing else is left to report it
        traceback.print_exc()
    code = 1 if outcome in (report.FAILED, NODE_FAULT) else 0
    process_end.leave(code, held, folders=bundle.sys_path, warn=outcome in (report.FINISHED, report.ENDED))


def run_job(
    bundle: JobBundle,
    report_descriptor: int,
    parent_descriptor: int,
    make_host: Callable[[PythonJob, EndpointShell, JobBundle], PythonHost] = PythonHost,
    held: list[Any] | None = None,
) -> str:
    """Run the job to its end in this process and report it.

    Returns the outcome (`fission.runtime.report`).

    Args:
        bundle: the job.
        report_descriptor: descriptor that `report.write_report` writes to.
        parent_descriptor: end of a pipe that closes when the parent process dies; this process then
            dies too.
        make_host: makes what runs a PythonJob.
        held: list that receives the job and the exception that ended it, because their finalizers
            are user code and must not delay the report.
    """
    held = [] if held is None else held
    stopper = Stopper()
    outcome, error, hopeless = report.FAILED, "", False
    counts: JobCounts | None = None
    shell: EndpointShell | None = None
    host: PythonHost | None = None
    try:
        try:
            stopper.install(parent_descriptor)
            sys.setswitchinterval(SWITCH_S)
            _start_log(bundle)
            _enter(bundle.folder)
            sys.path[:0] = [path for path in bundle.sys_path if path not in sys.path]
            job = _unpickle(bundle)
            held.append(job)
            try:
                keep_freed_memory()
                lender, viewer = _shared_memory(job, bundle)
                shell = make_shell(job, bundle, _links(bundle), lender, viewer)
                shell.watcher = JobWatch(shell, program=isinstance(job, ExecutableJob))
            except Exception as why:
                raise NodeFault(f"no memory, sockets or descriptors: {error_text(why)}") if _scarce(why) else why from why
            stopper.guard(job, shell)
            shell.control.on_failure = partial(_control_failed, bundle, stopper, report_descriptor)
            gc.freeze()  # the objects that exist now are permanent: scanning them repeatedly would delay blocks
            if isinstance(job, ExecutableJob):
                outcome = ExecutableHost(job, shell, bundle).run()
            else:
                host = make_host(cast(PythonJob, job), shell, bundle)
                host.limit = partial(stopper.limit, TEARDOWN_S, partial(_teardown_late, report_descriptor))
                outcome = host.run()
        except Stopped:
            raise
        except NodeFault as why:
            outcome, error = NODE_FAULT, str(why)
        except BaseException as why:  # including SystemExit from user code: a job ends by finish(), not by exit()
            held.append(why)
            error = report.failure_text(why)
            # a value that does not fit, or a block that cannot be read, fails again in a new incarnation; an executable may not
            hopeless = isinstance(why, FissionError) and not isinstance(why, ExecutableError)
            log.debug("all frames:", exc_info=why)
        stopper.leave()
    except Stopped:
        stopper.leave()
    if stopper.stopping:
        # an error that follows from the stop, or an end reached because user code swallowed `Stopped`, is neither a failure nor
        # the job's own end
        outcome, error = report.STOPPED, "" if host is None else _torn_down(host)
        if error:
            outcome = report.FAILED
    if stopper.failure is not None:
        outcome, error = report.FAILED, _control_failure(bundle, stopper.failure)
    if shell is not None:
        counts = shell.counts()
        # a failed program's last blocks and releases belong together: if only one of them arrived, a block would be lost or duplicated
        lingers = outcome in (report.FINISHED, report.ENDED) or isinstance(job, ExecutableJob)
        shell.close(LINGER_S if lingers else 0)
        if shell.lending is not None and outcome == report.FINISHED:
            shell.lending.lender.close()  # otherwise a consumer may still read from it; the client removes it at the end of the run
    log.info("%s %s", bundle.name, outcome)
    block = shell.endpoint.counter.done + 1 if shell is not None and shell.endpoint.begun else 0
    report.write_report(report_descriptor, outcome, error, counts, block, hopeless)
    return outcome


def _torn_down(host: PythonHost) -> str:
    """Run the `teardown` of a stopped job; return the text of its error, or "" without one."""
    try:
        host.teardown()
    except BaseException as why:
        return report.failure_text(why)
    return ""


def _teardown_late(report_descriptor: int) -> None:
    report.write_report(report_descriptor, report.FAILED, f"teardown did not return within {TEARDOWN_S:g} s")


def _control_failed(bundle: JobBundle, stopper: Stopper, report_descriptor: int, error: Exception) -> None:
    """Control thread: end the job and report why, because its pipes are no longer served."""
    log.error("the control thread failed", exc_info=error)
    stopper.fail(error, lambda: report.write_report(report_descriptor, report.FAILED, _control_failure(bundle, error)))


def _control_failure(bundle: JobBundle, error: Exception) -> str:
    if isinstance(error, SinkFileError):
        return str(error)
    return (
        f"{bundle.name}: the thread that serves its pipes failed: {type(error).__name__}: {error}. This is a bug in FISSION; "
        f"fission.log shows where"
    )


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as why:
        raise NodeFault(f"{folder}, where the job is to work, cannot be entered: {why.strerror}") from None


def _start_log(bundle: JobBundle) -> None:
    root = logging.getLogger("fission")
    root.propagate = False
    for handler in list(root.handlers):
        root.removeHandler(handler)
    if bundle.log_file:
        handler = LogFile(bundle.log_file, delay=True)
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {bundle.name}: %(message)s"))
        root.addHandler(handler)
        root.setLevel(bundle.log_level)
    log.info("%s starts, incarnation %s, in %s", bundle.name, bundle.incarnation, bundle.folder)


def _unpickle(bundle: JobBundle) -> BaseJob:
    try:
        return cast(BaseJob, pickle.loads(bundle.pickled_job))
    except Stopped:
        raise
    except BaseException as why:  # unpickling imports the job's modules and runs its __setstate__, which are user code
        raise DefinitionError(f"{bundle.name} cannot be loaded in its own process: {error_text(why)}") from why


def _load(text: str) -> Callable[..., Any]:
    module, _, name = text.partition(":")
    factory: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return factory


def _links(bundle: JobBundle) -> Links:
    if not bundle.wiring.ip or not bundle.guard:  # no other machine can reach this job
        links: Links = _load(bundle.links)(bundle.wiring)
        return links
    read_keys, guard = map(_load, bundle.guard)
    keys = read_keys(Path(bundle.wiring.keys)) if bundle.wiring.keys else None
    guarded: Links = _load(bundle.links)(bundle.wiring, guard=lambda context: guard(context, keys, log))
    return guarded


def _shared_memory(job: BaseJob, bundle: JobBundle) -> tuple[SharedWriter | None, SharedReader | None]:
    if not bundle.shared:
        return None, None
    lender, viewer = map(_load, bundle.shared)
    incarnations = [bundle.consumers.get(pipe.id, 1) for pipe in job.outputs]
    out = (
        lender(bundle.shared_prefix, bundle.job_id, bundle.incarnation, incarnations, downstream=bundle.downstream)
        if incarnations
        else None
    )
    return out, viewer(bundle.incarnation) if job.inputs else None


def take_over_output(stdout: int, stderr: int) -> None:
    """Make the two descriptors this process's standard output and error, with line buffering."""
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for descriptor in (stdout, stderr):
        if descriptor > 2:
            os.close(descriptor)
    sys.stdout, sys.stderr = _lines_to(1), _lines_to(2)


def _lines_to(descriptor: int) -> io.TextIOWrapper:
    raw = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
