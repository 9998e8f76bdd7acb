"""The exit of a job's process: the only place where it ends after `run_job`.

At its exit, Python would wait without limit for all threads, executors, queues and `atexit`
functions of the user. Here, each of them gets a fraction of a second; then everything that the job
has opened is closed, and the process ends. The job's report is already written. Work that the job
must do for certain belongs in its `teardown`.
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

#: Seconds that each step may take before it is abandoned: flushing files, twice; releasing the job's objects; threads and
#: executors; `atexit`; finalizers. Arbitrary: together they are below the second within which a process must be gone.
FLUSH_S, RELEASE_S, THREADS_S, ATEXIT_S, COLLECT_S = 0.1, 0.15, 0.25, 0.15, 0.15
#: Extra seconds for a step that is computing, and seconds between checks whether it is. Arbitrary.
SLOW_S, LOOK_S = 2.0, 0.2
#: Seconds for pipes and sockets that the job has written to, whose readers may no longer read. Arbitrary.
STREAMS_S = 0.1
#: Seconds for files: the data must reach them, and a device may be slow.
FILES_S = 5.0
#: The roots of io's classes in C: unlike the abstract classes, they run no user code, and checking every object against them is cheap.
_FILE, _RAW = io.IOBase.__mro__[1], io.RawIOBase.__mro__[1]
#: Seconds after which the kernel ends the process, in case code that holds the interpreter's lock lets nothing else run; nothing
#: is closed then. Arbitrary: above the sum of all others, even on a busy machine.
KERNEL_S = 10.0


def leave(code: int, held: list[Any], *, folders: Sequence[str] = (), warn: bool = False) -> NoReturn:
    """Main thread: close what Python would close at its exit, and end this process.

    Each step has a time limit.

    Args:
        code: exit code of the process.
        held: job and the exception that ended it; the caller has no other references, so that their
            finalizers run here.
        folders: folders of the user's modules, whose objects are finalized too.
        warn: whether to name the steps that exceeded their limit on standard error.
    """
    _kernel_ends_after(KERNEL_S)
    late = []
    _bounded(_flush, FLUSH_S)  # a file in a reference cycle would be closed before the data in its wrapper is written
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
    """Write out and close all open files, pipes and sockets; flush standard output and error."""
    files, streams = _written_to()
    _bounded(lambda: _close(streams), STREAMS_S)
    _bounded(lambda: _close(files), FILES_S)
    _bounded(_flush_output, STREAMS_S)


def _kernel_ends_after(seconds: float) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _bounded(step: Callable[[], Any], seconds: float) -> bool:
    """Do a step in its own thread; return whether it returned or raised within that time.

    A step that is computing gets more time, because it may only be slow on a busy machine; a step
    that sleeps or waits does not.
    """
    over, clocks = threading.Event(), []

    def work() -> None:
        try:
            if hasattr(time, "pthread_getcpuclockid"):  # available on Linux
                clocks.append(time.pthread_getcpuclockid(threading.get_ident()))
            step()
        except BaseException:  # an error of user code must not stop the exit
            sys.excepthook(*sys.exc_info())
        finally:
            over.set()

    try:
        threading.Thread(target=work, name="fission-end", daemon=True).start()
    except RuntimeError:  # no thread can be started, so the step's time cannot be limited
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
    """Return the CPU seconds of the thread with this clock; -1 if the thread has ended."""
    try:
        return time.clock_gettime(clock)
    except OSError:
        return -1.0


def _end_threads() -> None:
    """Ask executors to end and wait for all non-daemon threads, as Python's exit does first."""
    threading._shutdown()  # type: ignore[attr-defined]


def _held_by() -> Iterable[threading.Thread]:
    return (thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread())


def _collect(folders: Sequence[str]) -> None:
    """Finalize the objects of the job and the user's modules.

    Their `__del__` runs while everything that it uses still exists.
    """
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
    """Return the open files that may have been written to, and the open pipes and sockets.

    In both lists, wrappers come before the objects that they wrap.
    """
    found: tuple[list[Any], list[Any]] = ([], [])
    for thing in gc.get_objects():
        if issubclass(type(thing), _FILE) and not issubclass(type(thing), _RAW):
            try:
                if not thing.closed and (descriptor := thing.fileno()) > 2:
                    found[not stat.S_ISREG(os.fstat(descriptor).st_mode)].append(thing)
            except BaseException:  # a file in memory, or a class that behaves differently: no data can be lost
                continue
    for entries in found:
        entries.sort(key=_depth)
    return found


def _depth(thing: Any) -> int:
    if isinstance(thing, io.TextIOWrapper):
        return 0
    return 2 if type(thing) in (io.BufferedWriter, io.BufferedRandom, io.BufferedReader, io.BufferedRWPair) else 1


def _flush() -> None:
    """Write the data that is still in wrappers and buffers of files."""
    for thing in _written_to()[0]:
        with contextlib.suppress(BaseException):  # closing the file raises the same error, and reports it
            thing.flush()


def _close(things: Iterable[Any]) -> None:
    for thing in things:
        try:
            thing.close()
        except BaseException as why:  # for example a full disk or a missing reader: the others must still be closed
            sys.stderr.write(f"warning: closing {_named(thing)} failed: {error_text(why)}\n")


def _named(thing: Any) -> str:
    return value_text(getattr(thing, "name", thing))


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # user code may have set it to None to silence itself
            stream.flush()
