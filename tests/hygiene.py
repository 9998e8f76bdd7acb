"""pytest plugin: a test leaves nothing behind, and with CI=true no test is skipped.

The conftest.py of the root loads it.

**Leaks.** After each test, and after the test's own fixtures have ended, there must be no new child
process, no new file or socket named ``fission*`` in the temp directory, no new shared memory of
ours, no new network namespace, and records are logged as before. Stragglers get `GRACE_S` to disappear; then the test fails by a
teardown error that names them. Leaked processes are killed, so that the next test is judged alone.
Resources of fixtures with a wider scope exist before the test and do not count.

Two measures make this exact. On Linux the pytest process adopts orphans (as their "subreaper"), so
it finds a grandchild whose parent died. And the temp directory belongs to this run only, so that
leaks of a concurrent run are not attributed to this one; the names of shared memory begin with a
mark of that directory. Adoption has a price: a dead orphan stays a zombie until pytest waits for
it, so use `tests.waiting.is_running` to ask whether a process is running, not ``os.kill(pid, 0)``.

With pytest-xdist each worker is such a run, with its own temp directory, children and marks.

**Skips.** With CI=true a skip of a test or a whole file is a failure that names what was missing.
The same holds for an xfail that does not run.

**Long values.** With CI=true pytest explains a failed ``assert one == other`` in full, by difflib,
which takes minutes for long values: a time limit then ends the worker. Of these the first
difference is shown instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import re
import reprlib
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import psutil
import pytest
from _pytest.assertion import util as assertion

from fission.adapters.shared_memory import segments
from tests.deadlines import Deadline

LONG = 2000  # arbitrary: items and characters; difflib needs 0.1 s for them
GRACE_S = 5.0  # arbitrary: a job's process needs some tens of milliseconds to end, and on a busy machine seconds
OURS = "fission"  # prefix of our files, sockets and shared memory
PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
#: Processes, and paths of `_things`, from before the present test: of wider fixtures, earlier tests.
held_processes: set[psutil.Process] = set()
held_things: set[str] = set()
#: Processes of wider fixtures that start and end others all the time, such as the service manager of a board; the fixture ends all.
fixture_trees: set[int] = set()
TEMP_KEY: pytest.StashKey[str] = pytest.StashKey()
TEMPROOT_KEY: pytest.StashKey[str] = pytest.StashKey()


# -- skips ------------------------------------------------------------------------------------------------------------


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true"}


def _fail_instead(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a report of a skip into one of a failure, where skips are forbidden."""
    if not _in_ci() or report.outcome != "skipped":
        return
    known_bug = getattr(report, "wasxfail", None)
    if known_bug is not None and "[NOTRUN]" not in known_bug:
        return  # an xfail that ran: the test exists and names what is broken
    longrepr = report.longrepr
    reason = longrepr[2] if isinstance(longrepr, tuple) else str(known_bug or longrepr)
    report.outcome = "failed"
    report.longrepr = f"{reason}\nCI=true: nothing may be skipped. Provide what is missing, or let the test do without it."
    if known_bug is not None:
        delattr(report, "wasxfail")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_instead(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_instead(report)
    return report


# -- long values ------------------------------------------------------------------------------------------------------


def _size(value: object) -> int:
    """Return how many items and characters a value of the built-in kinds has, at every depth."""
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(key) + _size(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return sum(map(_size, value))
    return 1


def _first_difference(left: object, right: object) -> list[str]:
    """Return the lines that say where two long values begin to differ."""
    lines = [f"{reprlib.repr(left)} == {reprlib.repr(right)}"]
    for kind in ((str,), (bytes, bytearray), (list, tuple)):
        if isinstance(left, kind) and isinstance(right, kind):
            pairs = enumerate(zip(left, right, strict=False))
            first = next((index for index, (one, other) in pairs if one != other), min(len(left), len(right)))
            there, wanted = (reprlib.repr(value[first : first + 6]) for value in (left, right))
            lines += [f"they have {len(left)} and {len(right)} items and differ from index {first} on:", f"{there} != {wanted}"]
    return lines


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Explain long values by their first difference; pytest explains all others.

    A `pytest_assertrepr_compare` of ours would be asked as well, not instead.
    """
    explained = assertion._reprcompare

    def explain(op: str, left: object, right: object) -> str | None:
        if op != "==" or explained is None or max(_size(left), _size(right)) < LONG:
            return explained and explained(op, left, right)
        return "\n~".join(line.replace("\n", "\\n").replace("%", "%%") for line in _first_difference(left, right))

    assertion._reprcompare = explain  # pytest puts its own back
    return (yield)


# -- leaks ------------------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Adopt orphans, and give the run its own temp directory.

    The directory has a short path: a socket's name has at most 107 bytes.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # tests send SIGHUP to commands, which would inherit that nohup ignores it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # pytest's own folders (tmp_path) stay where users find them after a failure
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    config.stash[TEMPROOT_KEY] = os.environ["PYTEST_DEBUG_TEMPROOT"]
    own = tempfile.mkdtemp(prefix="t-")
    config.stash[TEMP_KEY] = own
    os.environ["TMPDIR"] = tempfile.tempdir = own


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Let each pytest that a test starts have its folders in the temp directory of this run.

    At its end pytest removes the folders of all but the last three sessions of the same root,
    before it says what has passed. Those of this suite hold whole virtual environments and file
    systems of boards, so a small pytest of a test would take minutes for them.
    """
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # of this run: it is chosen now
    os.environ["PYTEST_DEBUG_TEMPROOT"] = session.config.stash[TEMP_KEY]


def pytest_unconfigure(config: pytest.Config) -> None:
    own = config.stash.get(TEMP_KEY, None)
    if own is None:
        return
    shutil.rmtree(own, ignore_errors=True)
    tempfile.tempdir = None
    os.environ["TMPDIR"] = str(Path(own).parent)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = config.stash[TEMPROOT_KEY]


def _names(folder: str, prefix: str = "") -> set[str]:
    with contextlib.suppress(FileNotFoundError):
        return {f"{folder}/{name}" for name in os.listdir(folder) if name.startswith(prefix)}
    return set()


def _things() -> set[str]:
    """Return the paths of our existing files, sockets, shared memory and network namespaces."""
    namespaces = {name for name in _names("/run/netns") if not _others(name)}
    return _names(tempfile.gettempdir(), OURS) | _names("/dev/shm", segments.mark()) | namespaces


def _others(namespace: str) -> bool:
    """Return whether a process outside this run made a network namespace, ``NAME-PID-...``."""
    found = re.match(r"[a-z]+-(\d+)-", os.path.basename(namespace))
    return found is not None and int(found[1]) not in {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}


def _children() -> set[psutil.Process]:
    """Return every descendant except the two that multiprocessing keeps by design, and the trees of fixtures."""
    excluded = {
        *fixture_trees,
        multiprocessing.resource_tracker._resource_tracker._pid,  # type: ignore[attr-defined]
        multiprocessing.forkserver._forkserver._forkserver_pid,  # type: ignore[attr-defined]
    }
    fixtures = {child for tree in fixture_trees for child in _descendants(tree)}
    return {child for child in psutil.Process().children(recursive=True) if child.pid not in excluded} - fixtures


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _spares(children: set[psutil.Process], before: set[psutil.Process]) -> set[psutil.Process]:
    """Return the new processes that a fork server of a wider fixture has forked in advance.

    Half a second after its last job began it forks a spare, which has the server's title: during
    whatever test then runs. The spare ends with its server.
    """
    spares = set()
    for child in children - before:
        with contextlib.suppress(psutil.Error):
            server = child.parent()
            if server in before and "fork server" in (title := " ".join(server.cmdline())) and " ".join(child.cmdline()) == title:
                spares.add(child)
    return spares


def _describe(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"process {process.pid}: {' '.join(process.cmdline()) or process.name()}"
    return f"process {process.pid}"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves processes, files, shared memory or namespaces; see the head."""
    children_before, things_before, silenced = _children(), _things(), logging.root.manager.disable
    held_processes.clear()
    held_processes.update(children_before)
    held_things.clear()
    held_things.update(things_before)
    yield
    deadline = Deadline(GRACE_S)
    children = _children()
    alive = list(children - children_before - _spares(children, children_before))
    while alive and not deadline.over:
        # wait_procs also collects the dead, so adopted zombies disappear here
        _, alive = psutil.wait_procs(alive, timeout=max(0.0, deadline.left_s))
    tick = threading.Event()
    while (things := _things() - things_before) and not deadline.over:
        tick.wait(0.01)
    problems = [_describe(process) for process in alive] + sorted(things)
    if logging.root.manager.disable != silenced:
        problems.append(f"logging.disable({logging.root.manager.disable}), which hides records from later tests")
        logging.disable(silenced)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_S)
    if problems:
        pytest.fail("the test left behind:\n  " + "\n  ".join(problems), pytrace=False)
