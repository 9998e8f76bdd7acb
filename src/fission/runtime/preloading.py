"""The modules of the setting PRELOAD: a fork server imports them once, before it forks jobs.

A forked job has what the import left in memory. It does not have the threads that the import
started, shares the position of open files, and would continue the random numbers of its parent:
the first two are reported here, each job renews the third (`renew_random_numbers`).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fission.errors import error_text
from fission.posix import descendants
from fission.protocol.messages.fork_server_to_client import ModuleRemark

#: Folders of files that are not the user's data: devices, and the kernel's.
_SYSTEM = ("/dev/", "/proc/", "/sys/")
#: Seconds that threads which a library ends before a fork may take to disappear, and between two
#: looks; arbitrary.
_THREADS_END_S, _LOOK_S = 0.5, 0.005
_ADVICE = "if they use it, remove the module from PRELOAD"


def preload(modules: Sequence[str]) -> tuple[tuple[ModuleRemark, ...], tuple[ModuleRemark, ...]]:
    """Import modules, in their order; call it in the only thread.

    Returns:
        The modules that cannot be imported, each with the reason, and what others have left
        running or open.
    """
    failed, remarks = [], []
    for name in modules:
        before = _Surroundings()
        try:
            importlib.import_module(name)
        except BaseException as why:  # a module may raise anything, or call exit()
            failed.append(ModuleRemark(module=name, text=error_text(why)))
        remarks += [ModuleRemark(module=name, text=text) for text in before.changes()]
    gc.collect()  # what is garbage now would be copied into each job by the collection that frees it
    return tuple(failed), tuple(remarks)


def renew_random_numbers() -> None:
    """Let this forked process draw numbers of its own.

    Python does so itself for `random`, numpy does not for its global generator.
    """
    if (generator := sys.modules.get("numpy.random")) is not None:
        generator.seed()


@contextlib.contextmanager
def ending_with(descriptor: int, clean_up: Callable[[], object]) -> Iterator[None]:
    """End this process when the other end of a stream socket is closed during the with-block.

    Imports run the code of others, which may take long or not return.

    Args:
        descriptor: the socket; nothing is read from it.
        clean_up: called before that end, in another thread.
    """
    done, over = os.pipe()
    watcher = threading.Thread(target=_watch, args=(descriptor, done, clean_up), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.close(over)
        watcher.join()
        os.close(done)


def _watch(descriptor: int, done: int, clean_up: Callable[[], object]) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    poll.register(done, 0)  # its other end is closed
    if descriptor in (number for number, _ in poll.poll()):
        try:
            descendants.kill(descendants.descendants_of(os.getpid()))
            clean_up()
        finally:
            os._exit(1)


@dataclass
class _Surroundings:
    """What a process has beside its memory."""

    threads: frozenset[int] = field(default_factory=lambda: frozenset(_threads()))
    files: frozenset[tuple[int, str]] = field(default_factory=lambda: frozenset(_open_files()))
    children: frozenset[int] = field(default_factory=lambda: frozenset(descendants.children_of(os.getpid())))

    def changes(self) -> Iterator[str]:
        """Yield a clause about each kind of thing that was added since, which jobs lack or share."""
        if lost := self._lost_threads():
            text = f"has left {_counted(lost, 'thread')} running, which jobs do not have because a fork copies no threads"
            yield f"{text}; {_ADVICE}"
        if files := sorted(name for _, name in set(_open_files()) - self.files):
            yield f"has left {_counted(files, 'file or socket', 'files or sockets')} open, which all jobs share; {_ADVICE}"
        if started := set(descendants.children_of(os.getpid())) - self.children:
            names = [_command(process) for process in sorted(started)]
            yield f"has started {_counted(names, 'process', 'processes')}, which all jobs share; {_ADVICE}"

    def _lost_threads(self) -> list[str]:
        """Return the names of new threads that are still there after a fork."""
        if not _threads().keys() - self.threads:
            return []
        process = os.fork()  # OpenBLAS and others end their threads before a fork, and start new ones where they are needed
        if process == 0:
            os._exit(0)
        os.waitpid(process, 0)
        until = time.monotonic() + _THREADS_END_S
        python = {thread.native_id: thread.name for thread in threading.enumerate()}
        while (now := {number: name for number, name in _threads().items() if number not in self.threads}).keys() - python.keys():
            if time.monotonic() > until:
                break
            time.sleep(_LOOK_S)
        return sorted(python.get(number, name) for number, name in now.items())


def _threads() -> dict[int, str]:
    """Return the names of this process's threads by their numbers, those of libraries too."""
    found = {}
    with contextlib.suppress(OSError):
        for number in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError), open(f"/proc/self/task/{number}/comm", encoding="utf-8", errors="replace") as file:
                found[int(number)] = file.read().strip()
    return found


def _open_files() -> Iterator[tuple[int, str]]:
    """Yield the descriptors of files and sockets, each with its name."""
    with contextlib.suppress(OSError):
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                name = os.readlink(f"/proc/self/fd/{number}")
                if name.startswith("socket:") or (name.startswith("/") and not name.startswith(_SYSTEM)):
                    yield int(number), name


def _command(process: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return str(process)


def _counted(names: Sequence[str], one: str, more: str = "") -> str:
    """Return "2 threads (first, second)"."""
    return f"{len(names)} {one if len(names) == 1 else more or f'{one}s'} ({', '.join(names)})"
