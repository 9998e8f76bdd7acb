"""The system refuses processes, memory or descriptors for a while: jobs start late or elsewhere, and the fork server survives."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fission.adapters.local_engine import LocalEngine
from fission.adapters.local_engine.starting import FORK_SERVER_CODE
from fission.core.base import collecting
from fission.ports import NODE_FAULT, JobId
from fission.posix.fork_server import ForkServer
from fission.protocol.messages.client_to_fork_server import ForkChild, encoded_request
from fission.protocol.messages.fork_server_to_client import FORK_SERVER_TO_CLIENT, ForkRefused
from fission.protocol.splitter import Splitter
from tests.e2e.support import column, network
from tests.faults import lingering
from tests.faults.on_engine import HERE, Ended, run_on_engine
from tests.waiting import CommandLine

#: A fork server whose first ``FAILURES`` forks fail.
FAILING_FORK = FORK_SERVER_CODE.replace(
    "sys.exit(main(sys.argv[2:]))", "from tests.faults.test_scarce import FailingFork; sys.exit(main(sys.argv[2:], FailingFork()))"
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with collecting():
        yield


class FailingFork:
    """Replaces `os.fork`: the system has no memory at first."""

    def __init__(self, failures: int = 2, number: int = errno.ENOMEM) -> None:
        self.left, self.number = failures, number

    def __call__(self) -> int:
        if self.left:
            self.left -= 1
            raise OSError(self.number, os.strerror(self.number))
        return os.fork()


def test_a_fork_that_fails_is_a_fault_of_the_node(tmp_path: Path) -> None:
    """Two of three jobs cannot start, and say why; the fork server survives and starts the third."""
    ended = run_on_engine([lingering.Ends("finish") for _ in range(3)], tmp_path, program=FAILING_FORK)
    refused = [one for one in ended if one.report.outcome == NODE_FAULT]
    assert [one.report.error for one in refused] == ["the system cannot create a process: OSError: [Errno 12] Cannot allocate memory"] * 2
    assert [one.report.outcome for one in ended if one not in refused] == ["finished"]


class Channel:
    """A socket whose other end sends launches, and whose `recvmsg` fails at first."""

    def __init__(self, failures: list[Exception]) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.failures = failures
        self.cut = False

    def fileno(self) -> int:
        return self.ours.fileno()

    def recvmsg(self, size: int, space: int) -> Any:
        if self.failures:
            raise self.failures.pop()
        data, ancillary, flags, address = self.ours.recvmsg(size, space)
        return data, ancillary, flags | (socket.MSG_CTRUNC if self.cut else 0), address

    def sendall(self, data: bytes) -> None:
        self.ours.sendall(data)


def launch(channel: Channel, job: int) -> None:
    request = encoded_request(ForkChild(key=(job,)), b"no bundle")
    descriptors = [os.open(os.devnull, os.O_WRONLY) for _ in range(3)]
    socket.send_fds(channel.theirs, [Splitter.join(request)], descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def read(server: ForkServer) -> list[bytes]:
    """Return the launches that have arrived, none of which is executed yet."""
    assert server._read()
    arrived = list(server._requests)
    server._requests.clear()
    return arrived


def close(server: ForkServer, channel: Channel) -> None:
    server.close()
    channel.ours.close()
    channel.theirs.close()


def test_reading_without_memory_or_descriptors_loses_nothing() -> None:
    """The fork server's socket is refused memory; then its descriptors do not arrive, and only that job cannot start."""
    forked = []

    def fork() -> int:
        forked.append(1)
        raise OSError(errno.EAGAIN, "again")

    channel = Channel([MemoryError(), OSError(errno.ENOMEM, "none"), OSError(errno.EMFILE, "too many")])
    server = ForkServer(channel, print, descriptors=3, fork=fork)  # type: ignore[arg-type]  # as much of a socket as it needs
    launch(channel, 1)
    assert [read(server) for _ in range(3)] == [[], [], []]
    assert server._read()
    server._obey_next()
    channel.cut = True
    launch(channel, 2)
    assert server._read()
    channel.cut = False
    launch(channel, 3)
    assert server._read()
    server._obey_next()
    server._obey_next()
    reports = [FORK_SERVER_TO_CLIENT.decode(message) for message in Splitter().feed(channel.theirs.recv(1 << 16))]
    refusals = [report for report in reports if isinstance(report, ForkRefused)]
    assert [report.key for report in refusals] == [(1,), (2,), (3,)]
    assert len(reports) == 3
    assert "descriptors" in refusals[1].cause
    assert len(forked) == 2  # not for the one whose descriptors are missing
    close(server, channel)


def test_no_descriptors_in_the_engine(tmp_path: Path) -> None:
    """The pipes of a job's output cannot be made: the job is refused, and the engine survives."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    refused = []

    def during(engine: LocalEngine, found: dict[int, Ended]) -> bool:
        if not refused and "now" in found[1].lines["stdout"]:
            refused.append(1)
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 3, limits[1]))
            try:
                engine.host(JobId(2), 1, b"", HERE)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        return bool(found[2].report)

    _, second = run_on_engine([lingering.Leaves("session", "wait"), None], tmp_path, during=during)
    assert second.report.outcome == NODE_FAULT
    assert "Too many open files" in second.report.error


FOR_TWO_SECONDS = """\
import errno, os, sys, time
fork, began = os.fork, []
def failing():
    began.append(time.monotonic())
    if began[-1] < began[0] + 2.0:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")
    return fork()
if any("fission.runtime.job_fork_server" in argument for argument in sys.orig_argv):
    os.fork = failing
"""


@pytest.mark.slow
def test_a_network_waits_until_there_is_memory(fission: CommandLine, tmp_path: Path) -> None:
    """fork fails for 2 s from its first call: the jobs start then, none of their RESTARTS is used up, and every block arrives."""
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "sitecustomize.py").write_text(FOR_TWO_SECONDS)
    listed = 'Count(50, outputs=[PicklePipe(1)]), CSVSinkJob("out.csv", inputs=[PicklePipe(1)])'
    fission.project(network("", listed, extra="RESTARTS = 0"))
    began = time.monotonic()
    done = fission.run("net", "simulate", env={"PYTHONPATH": str(tmp_path / "early")}, exit_code=0)
    assert time.monotonic() - began > 2.0
    assert column(fission.root / "net/simulation/2/out.csv") == list(range(1, 51)), done
    assert "the system cannot create a process: OSError: [Errno 12] Cannot allocate memory" in done.stdout + done.stderr


class Splits(Splitter):
    """Has no memory at first for what arrives, or for complete messages."""

    def __init__(self, *failures: str) -> None:
        super().__init__()
        self.failures = list(failures)

    def feed(self, data: Any) -> list[bytes]:
        failure = self.failures.pop(0) if self.failures else ""
        if failure == "arrives":
            raise MemoryError
        messages = super().feed(data)
        if failure == "whole":
            self._rest[:0] = b"".join(map(self.join, messages))  # as when `feed` itself fails before its last step
            raise MemoryError
        return messages


@pytest.mark.parametrize("failures", [("arrives",), ("whole",), ("arrives", "whole", "whole")])
def test_a_bundle_without_memory_for_it_arrives_once(failures: tuple[str, ...]) -> None:
    channel = Channel([])
    server = ForkServer(channel, print)  # type: ignore[arg-type]
    server._splitter = Splits(*failures)
    channel.theirs.sendall(Splitter.join(b"one") + Splitter.join(b"two") + b"\x03\0")
    assert read(server) == [b"one", b"two"]
    channel.theirs.sendall(b"\0\0six")
    assert read(server) == [b"six"]
    close(server, channel)


def test_a_fork_server_that_cannot_be_restarted_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork server dies, and the system refuses another one twice."""
    refused: list[int] = []
    revived: list[Any] = []
    start = LocalEngine._start_fork_server

    def refuse(self: LocalEngine, name: Any, user_modules: Any) -> Any:
        if len(refused) < 2:
            refused.append(1)
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return start(self, name, user_modules)

    def during(engine: LocalEngine, found: dict[int, Ended]) -> bool:
        if "now" in found[1].lines["stdout"] and not revived:
            engine._nodes[HERE].process.kill()
            monkeypatch.setattr(LocalEngine, "_start_fork_server", refuse)
        if not engine.nodes() and not revived:
            revived.append(asyncio.get_running_loop().create_task(engine.revive(HERE)))
        return bool(revived) and revived[0].done() and engine._nodes[HERE].ready.done()

    run_on_engine([lingering.Leaves("session", "wait")], tmp_path, during=during)
    assert len(refused) == 2
    assert revived[0].exception() is None
