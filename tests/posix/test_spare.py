"""A fork server's spare: forked in advance, it becomes the next child, and otherwise changes nothing."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import pytest

from fission.posix.descendants import children_of
from fission.posix.fork_server import Child, ForkServer
from fission.posix.forking import forked, unblock_ending_signals
from fission.posix.spare_child import MOST_BYTES, Spare
from fission.protocol.messages.client_to_fork_server import ForkChild, SignalChild, encoded_request
from fission.protocol.messages.fork_server_to_client import FORK_SERVER_TO_CLIENT, ChildEnded, ChildForked
from fission.protocol.splitter import Splitter
from tests.waiting import eventually, is_running

#: Seconds until a report or an answer must be there; arbitrary, for a busy machine.
DEADLINE_S = 20.0


def answer(child: Child) -> None:
    """Write what has arrived into the child's descriptors, then do as the payload says."""
    for descriptor in child.descriptors:
        with os.fdopen(descriptor, "wb") as file:
            known = {"key": child.key, "size": len(child.payload), "sum": sum(child.payload), "random": random.random()}
            file.write(json.dumps({**known, "pid": os.getpid(), "group": os.getpgid(0), "mark": os.environ["FISSION_PROCESS"]}).encode())
    if child.payload.startswith(b"wait"):
        signal.pause()


class Server:
    """A fork server in a process of its own, with two descriptors for each child."""

    def __init__(self, prepare: Callable[[], object] | None = lambda: None, after_s: float = 0.0, **keywords: object) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(DEADLINE_S)
        self._splitter, self._messages = Splitter(), []  # type: ignore[var-annotated]

        def serve() -> None:
            self.socket.close()
            unblock_ending_signals()
            ForkServer(theirs, answer, mark=f"t{os.getpid()}:", descriptors=2, prepare_spare=prepare, spare_after_s=after_s).serve()

        self.process = forked(serve)
        theirs.close()
        self.report()  # it is ready

    def report(self) -> object:
        while not self._messages:
            self._messages += self._splitter.feed(self.socket.recv(65536))
        return FORK_SERVER_TO_CLIENT.decode(self._messages.pop(0))

    def send(self, request: SignalChild) -> None:
        self.socket.sendall(Splitter.join(encoded_request(request)))

    def ask(self, number: int, payload: bytes = b"wait", shots: Sequence[threading.Timer] = ()) -> list[bytes]:
        """Request a child; return what it has written, after it has closed its descriptors.

        Args:
            number: first number of its key.
            payload: payload of the request.
            shots: signals to the spare. One that was stopped is killed after the last of them.
        """
        pipes = [os.pipe() for _ in range(2)]
        request = Splitter.join(encoded_request(ForkChild(key=(number, 7)), payload))
        sent = socket.send_fds(self.socket, [request], [write for _, write in pipes])
        self.socket.sendall(request[sent:])
        for _, write in pipes:
            os.close(write)
        for shot in shots:
            shot.join()
            if shot.args[1] == signal.SIGSTOP:
                _shoot(shot.args[0], signal.SIGKILL)
        answers = []
        for read, _ in pipes:
            with os.fdopen(read, "rb") as file:
                answers.append(file.read())
        return answers

    def fork(self, number: int, payload: bytes = b"wait") -> tuple[int, list[dict[str, object]]]:
        """Start a child; return its process id and what it found."""
        found = [json.loads(each) for each in self.ask(number, payload)]
        report = self.report()
        assert isinstance(report, ChildForked)
        assert report.key == (number, 7)
        assert {one["pid"] for one in found} == {report.process}
        return report.process, found

    def spare(self, *children: int) -> int:
        """Wait for a process of the server that is none of its children."""
        found: list[int] = []

        def there() -> bool:
            found[:] = [process for process in children_of(self.process) if process not in children and is_running(process)]
            return len(found) == 1

        eventually(there, DEADLINE_S, "a spare")
        return found[0]

    def kill(self, number: int) -> None:
        self.send(SignalChild(key=(number, 7), number=signal.SIGKILL))
        report = self.report()
        assert isinstance(report, ChildEnded)
        assert (report.key, report.code) == ((number, 7), -signal.SIGKILL)

    def close(self) -> None:
        self.socket.close()
        os.waitpid(self.process, 0)


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


@pytest.mark.parametrize("size", [4, 5, 1000, MOST_BYTES - 100])
def test_the_next_child_is_the_spare(server: Server, size: int) -> None:
    first, _ = server.fork(1)
    spare = server.spare(first)
    payload = (b"wait" + bytes(range(256)) * (size // 256 + 1))[:size]
    second, found = server.fork(2, payload)
    assert second == spare
    for one in found:
        assert (one["key"], one["size"], one["sum"], one["group"]) == ([2, 7], size, sum(payload), second)
        assert str(one["mark"]).endswith(f":{second}")
    third = server.spare(first, second)
    assert third not in (first, second)


def test_a_large_request_gets_a_child_of_its_own(server: Server) -> None:
    first, _ = server.fork(1)
    spare = server.spare(first)
    payload = b"wait" + bytes(5 * MOST_BYTES)
    second, found = server.fork(2, payload)
    assert second != spare
    assert [one["size"] for one in found] == [len(payload)] * 2
    assert server.spare(first, second) == spare


def test_a_spare_ends_like_any_child(server: Server) -> None:
    first, _ = server.fork(1)
    server.spare(first)
    server.fork(2)
    server.kill(2)
    server.kill(1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_without_its_spare_the_server_forks(server: Server, number: int) -> None:
    first, _ = server.fork(1)
    spare = server.spare(first)
    os.kill(spare, number)
    eventually(lambda: not is_running(spare), DEADLINE_S, "its end")
    second, _ = server.fork(2)  # the server may know, or not yet
    assert is_running(second)
    server.spare(first, second)


def test_no_spare_without_children(server: Server) -> None:
    assert children_of(server.process) == []
    first, _ = server.fork(1)
    server.spare(first)
    server.kill(1)
    eventually(lambda: not children_of(server.process), DEADLINE_S, "the end of the spare")


def test_a_lost_job_returns_before_the_spare_is_dismissed() -> None:
    """As on a board with one job, whose node places it again a moment later."""
    server = Server(after_s=1.0)
    try:
        server.fork(1)
        (first,) = children_of(server.process)
        spare = server.spare(first)
        server.kill(1)
        assert server.fork(2)[0] == spare
    finally:
        server.close()


def test_it_ends_with_its_server(server: Server) -> None:
    first, _ = server.fork(1)
    spare = server.spare(first)
    os.kill(server.process, signal.SIGKILL)
    eventually(lambda: not is_running(spare), DEADLINE_S, "the end of the spare")
    os.kill(first, signal.SIGKILL)  # `answer` does not look for its server


def test_children_differ_in_their_random_numbers(server: Server) -> None:
    children, numbers = [], set()
    for number in range(1, 5):
        child, found = server.fork(number)
        children.append(child)
        numbers.add(found[0]["random"])
        server.spare(*children)
    assert len(numbers) == 4


def test_a_spare_that_could_not_be_prepared_serves_as_well() -> None:
    def fails() -> None:
        raise MemoryError("no memory for a spare")

    server = Server(fails)
    try:
        first, _ = server.fork(1)
        spare = server.spare(first)
        assert server.fork(2)[0] == spare
    finally:
        server.close()


def test_a_stopped_spare_ends_with_its_server() -> None:
    read, write = os.pipe()
    server = Server(lambda: os.write(write, b"."))
    try:
        first, _ = server.fork(1)
        spare = server.spare(first)
        os.read(read, 1)  # it is past its first steps
        os.kill(spare, signal.SIGSTOP)
        os.kill(server.process, signal.SIGKILL)
        eventually(lambda: not is_running(spare), DEADLINE_S, "the end of the spare")
        os.kill(first, signal.SIGKILL)
    finally:
        server.close()
        os.close(read)
        os.close(write)


def test_a_job_that_was_a_spare_decides_itself_what_it_does_without_its_server(server: Server) -> None:
    """As any child: a job first kills what it has started."""
    first, _ = server.fork(1)
    spare = server.spare(first)
    server.fork(2, b"wait for the server")
    os.kill(server.process, signal.SIGKILL)
    os.waitpid(server.process, 0)
    assert is_running(spare)
    for child in (first, spare):
        os.kill(child, signal.SIGKILL)
    server.process = forked(lambda: None)  # for `close`


def test_memory_that_is_short_when_a_spare_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*arguments: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("fission.posix.spare_child.json", SimpleNamespace(dumps=no_memory))
        server = Server()
    try:
        first, _ = server.fork(1)
        spare = server.spare(first)
        second, _ = server.fork(2)
        assert second not in (first, spare)
        eventually(lambda: not is_running(spare), DEADLINE_S, "the end of the spare")
    finally:
        server.close()


def test_a_request_that_cannot_be_received_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would take the exit code 0 for a job that has done its work."""
    receive = socket.socket.recvmsg

    def no_memory(channel: socket.socket, *arguments: int) -> object:
        received = receive(channel, *arguments)
        if channel.type == socket.SOCK_SEQPACKET:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return received

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "recvmsg", no_memory)
        server = Server()
    try:
        first, _ = server.fork(1)
        spare = server.spare(first)
        assert server.ask(2) == [b"", b""]
        assert server.report() == ChildForked(key=(2, 7), process=spare)
        assert server.report() == ChildEnded(key=(2, 7), process=spare, code=1)
    finally:
        server.close()


@pytest.mark.parametrize("seed", range(2))
def test_spares_that_are_killed_at_random_moments(server: Server, seed: int) -> None:
    """Each request has its child, or the report that it has died."""
    rng = random.Random(seed)
    lived, died, first = 0, 0, server.fork(0)[0]
    for number in range(1, 40):
        deadly = rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, None))
        children = [process for process in children_of(server.process) if process != first]
        shots = [threading.Timer(rng.random() * 0.004, _shoot, (process, deadly)) for process in children if deadly]
        for shot in shots:
            shot.start()
        answers = server.ask(number, shots=shots)
        report = server.report()
        assert isinstance(report, ChildForked)
        if all(answers):
            assert {json.loads(each)["pid"] for each in answers} == {report.process}
            lived += 1
            server.send(SignalChild(key=(number, 7), number=signal.SIGKILL))
        else:
            died += 1
        ended = server.report()
        assert isinstance(ended, ChildEnded)
        assert (ended.key, ended.process) == ((number, 7), report.process)
        assert ended.code in (-signal.SIGKILL, -signal.SIGTERM)
        if rng.random() < 0.7:
            eventually(lambda: len(children_of(server.process)) >= 2, DEADLINE_S, "a spare")
    assert lived + died == 39
    assert lived > 5


def _shoot(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


# -- broken on purpose ------------------------------------------------------------------------------------------------


def test_a_spare_without_its_descriptors_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    hand_over = Spare.hand_over
    monkeypatch.setattr(Spare, "hand_over", lambda spare, key, payload, descriptors: hand_over(spare, key, payload, []))
    server = Server()
    try:
        first, _ = server.fork(1)
        server.spare(first)
        with pytest.raises(ValueError, match="Expecting value"):
            server.fork(2)
    finally:
        server.close()
