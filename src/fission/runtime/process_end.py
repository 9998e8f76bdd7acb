"""How a job's process leaves: the one place where it ends after `run_job`.

Python itself would wait at its exit for every thread, executor, queue and `atexit` function of the user's, for as long as they like.
Here each of them gets its share of a second, what the job has opened is closed, and the process is gone. By then the job's report is
written; what the job must do for certain belongs into its `teardown`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from fission.errors import error_text, value_text
from fission.posix import descendants

#: Seconds that each step may take before it is left alone: flushing files, twice; releasing what the job held; threads and executors;
#: `atexit`; finalizers. Arbitrary; all together are below the second within which a process must be gone.
FLUSH_S, RELEASE_S, THREADS_S, ATEXIT_S, COLLECT_S = 0.1, 0.15, 0.25, 0.15, 0.15
#: Seconds that a step which computes has beyond that, and seconds between looks whether it does. Arbitrary.
SLOW_S, LOOK_S = 2.0, 0.2
#: Seconds for pipes and sockets that the job has written to, whose readers may read no more. Arbitrary.
STREAMS_S = 0.1
#: Seconds for files: what was written must get there, and a device may be slow.
FILES_S = 5.0
#: The roots of io's classes in C: unlike the abstract ones they look at nothing of the user's, and cost little for every object there is.
_FILE, _RAW = io.IOBase.__mro__[1], io.RawIOBase.__mro__[1]
#: Seconds after which the kernel ends the process, if code that holds the interpreter's lock lets nothing else run. Arbitrary, above all
#: of the others together, also on a busy machine: nothing is closed then.
KERNEL_S = 10.0


def leave(code: int, held: list[Any], *, folders: Sequence[str] = (), warn: bool = False) -> NoReturn:
    """Close what Python would close at its exit, each step in bounded time, and end this process. Main thread.

    Args:
        code: the exit code.
        held: the job, and the exception that has ended it; the caller has no other references, so that their finalizers run here.
        folders: modules from there are the user's; what they hold is finalized too.
        warn: whether standard error names what was not over in time.
    """
    _kernel_ends_after(KERNEL_S)
    late = []
    _bounded(_flush, FLUSH_S)  # a file in a circle of references would be closed before what is in its wrapper has been written
    if not _bounded(held.clear, RELEASE_S):
        late.append("a finalizer of the job (__del__, finally)")
    if not _bounded(_end_threads, THREADS_S):
        late += [f"thread {thread.name}" for thread in _held_by()]
    if not _bounded(atexit._run_exitfuncs, ATEXIT_S):
        late.append("a function of atexit")
    _bounded(_flush, FLUSH_S)
    if not _bounded(lambda: _collect(folders), COLLECT_S):
        late.append("a finalizer (__del__)")
    if late and warn:
        sys.stderr.write(f"warning: ended with the job, before they were over: {', '.join(late)}; end them in teardown()\n")
    close_files()
    _bounded(lambda: descendants.kill_descendants(os.getpid()), STREAMS_S)
    os._exit(code)


def close_files() -> None:
    """Close all open files, pipes and sockets of Python, what was written to them first, and flush standard output and error."""
    files, streams = _written_to()
    _bounded(lambda: _close(streams), STREAMS_S)
    _bounded(lambda: _close(files), FILES_S)
    _bounded(_flush_output, STREAMS_S)


def _kernel_ends_after(seconds: float) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _bounded(step: Callable[[], Any], seconds: float) -> bool:
    """Do a step in a thread of its own; return whether it was over, or had raised, within that time.

    On a busy machine a step may only be slow: one that computes has more time, one that sleeps or waits has not.
    """
    over, clocks = threading.Event(), []

    def work() -> None:
        try:
            if hasattr(time, "pthread_getcpuclockid"):  # Linux has it
                clocks.append(time.pthread_getcpuclockid(threading.get_ident()))
            step()
        except BaseException:  # the user's, and the end goes its way
            sys.excepthook(*sys.exc_info())
        finally:
            over.set()

    try:
        threading.Thread(target=work, name="fission-end", daemon=True).start()
    except RuntimeError:  # no thread can be started: nothing is left that could bound it
        return False
    deadline = time.monotonic() + seconds + SLOW_S
    if over.wait(seconds):
        return True
    while clocks and time.monotonic() < deadline:
        before = _used(clocks[0])
        if over.wait(LOOK_S):
            return True
        if _used(clocks[0]) == before:
            return False
    return over.is_set()


def _used(clock: int) -> float:
    """Seconds on a processor of the thread with this clock; it may have ended."""
    try:
        return time.clock_gettime(clock)
    except OSError:
        return -1.0


def _end_threads() -> None:
    """As Python's exit does first: executors are asked to end, then all threads that are not daemons are waited for."""
    threading._shutdown()  # type: ignore[attr-defined]


def _held_by() -> Iterable[threading.Thread]:
    return (thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread())


def _collect(folders: Sequence[str]) -> None:
    """Finalize what the job and the user's modules hold: their `__del__` runs while all that they use is still there."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and _below(file, folders):
            del sys.modules[name]
    del name, module, file
    gc.unfreeze()
    gc.collect()


def _below(file: str, folders: Sequence[str]) -> bool:
    return any(file.startswith(os.path.join(folder, "")) for folder in folders) and "site-packages" not in file


def _written_to() -> tuple[list[Any], list[Any]]:
    """Open files that something was written to, or may have been, and pipes and sockets; the wrappers before what they wrap."""
    found: tuple[list[Any], list[Any]] = ([], [])
    for thing in gc.get_objects():
        if issubclass(type(thing), _FILE) and not issubclass(type(thing), _RAW):
            try:
                if not thing.closed and (descriptor := thing.fileno()) > 2:
                    found[not stat.S_ISREG(os.fstat(descriptor).st_mode)].append(thing)
            except BaseException:  # it is in memory only, or its class has other ideas: nothing of it can get lost
                continue
    for entries in found:
        entries.sort(key=_depth)
    return found


def _depth(thing: Any) -> int:
    if isinstance(thing, io.TextIOWrapper):
        return 0
    return 2 if type(thing) in (io.BufferedWriter, io.BufferedRandom, io.BufferedReader, io.BufferedRWPair) else 1


def _flush() -> None:
    """Write what wrappers and buffers of files still have."""
    for thing in _written_to()[0]:
        with contextlib.suppress(BaseException):  # closing it meets the same error, and reports it
            thing.flush()


def _close(things: Iterable[Any]) -> None:
    for thing in things:
        try:
            thing.close()
        except BaseException as why:  # a full disk, a reader that is gone: the others are closed all the same
            sys.stderr.write(f"warning: closing {_named(thing)} failed: {error_text(why)}\n")


def _named(thing: Any) -> str:
    return value_text(getattr(thing, "name", thing))


def _flush_output() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
